/** Find out by plain HTTP why the server refused an upgrade. */

/** `text` is the server's own sentence; undefined when something before it answered. */
export type Refusal =
  | { readonly kind: "signed-out"; readonly text: string | undefined; readonly signInUrl: string | undefined }
  | { readonly kind: "forbidden" | "refused"; readonly text: string | undefined }
  | { readonly kind: "full"; readonly text: string | undefined; readonly retryAfterMs: number }
  | { readonly kind: "missing"; readonly path: string }
  | { readonly kind: "unreachable" }
  | { readonly kind: "none" };

type Fetch = (url: string, options: RequestInit) => Promise<Response>;

const MAX_RETRY_AFTER_S = 300;
const MAX_SENTENCE_LENGTH = 200;

/** Statuses that explain a refusal. What a browser sends too much of, or wrongly, it sends again: see `refused`. */
const KINDS: Readonly<Record<number, "signed-out" | "forbidden" | "refused" | "full" | "missing">> = {
  400: "refused",
  401: "signed-out",
  403: "forbidden",
  404: "missing",
  429: "full",
  431: "refused",
  503: "full",
};

/** Ask each address in turn and return the first refusal; "none" if none of them refuses. The first is where this page is from. */
export async function probe(urls: readonly string[], fetcher: Fetch = fetch): Promise<Refusal> {
  for (const url of urls) {
    const refusal = await ask(url, fetcher);
    // It was there: a proxy does not find the server for now, as while that is replaced.
    if (refusal?.kind === "missing" && url === urls[0]) return { kind: "unreachable" };
    if (refusal !== undefined) return refusal;
  }
  return { kind: "none" };
}

async function ask(url: string, fetcher: Fetch): Promise<Refusal | undefined> {
  try {
    const response = await fetcher(url, { cache: "no-store", signal: AbortSignal.timeout(5_000) });
    const kind = KINDS[response.status];
    if (kind === undefined || kind === "missing") {
      await response.body?.cancel();
      return kind && { kind, path: new URL(url).pathname };
    }
    const body = parseJson(await response.text());
    const text = sentenceOf(body);
    if (kind === "signed-out") return { kind, text, signInUrl: signInUrlOf(body) };
    if (kind === "full") return { kind, text, retryAfterMs: retryAfterMs(response.headers.get("Retry-After")) };
    return { kind, text };
  } catch {
    // fetch rejects in the same way for every network failure.
    return { kind: "unreachable" };
  }
}

/** What a text says as JSON; undefined if it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The sentence of a refusal's body. */
export function sentenceOf(body: unknown): string | undefined {
  const message = typeof body === "object" && body !== null && "message" in body ? body.message : undefined;
  return typeof message === "string" && message !== "" ? message.slice(0, MAX_SENTENCE_LENGTH) : undefined;
}

/** Where a refusal's body says that people sign in: an address of the web or a path. */
export function signInUrlOf(body: unknown): string | undefined {
  const url = typeof body === "object" && body !== null && "signInUrl" in body ? body.signInUrl : undefined;
  return typeof url === "string" && /^(https?:\/\/|\/(?![/\\]))/i.test(url) ? url : undefined;
}

/** The milliseconds that a Retry-After header asks for; 0 if it is absent or a date. */
export function retryAfterMs(header: string | null): number {
  const seconds = Number(header ?? "");
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, MAX_RETRY_AFTER_S) * 1000 : 0;
}
