/** Find out by plain HTTP why the server refused an upgrade. */

export type Refusal =
  | { readonly kind: "signed-out" }
  | { readonly kind: "forbidden" }
  | { readonly kind: "full"; readonly retryAfterMs: number }
  | { readonly kind: "unreachable" }
  | { readonly kind: "none" };

type Fetch = (url: string, options: RequestInit) => Promise<Response>;

const MAX_RETRY_AFTER_S = 300;

/** Ask each address in turn and return the first refusal; "none" if none of them refuses. */
export async function probe(urls: readonly string[], fetcher: Fetch = fetch): Promise<Refusal> {
  for (const url of urls) {
    const refusal = await ask(url, fetcher);
    if (refusal !== undefined) return refusal;
  }
  return { kind: "none" };
}

async function ask(url: string, fetcher: Fetch): Promise<Refusal | undefined> {
  let response: Response;
  try {
    response = await fetcher(url, { cache: "no-store", signal: AbortSignal.timeout(5_000) });
  } catch {
    // fetch rejects in the same way for every network failure.
    return { kind: "unreachable" };
  }
  await response.body?.cancel();
  if (response.status === 401) return { kind: "signed-out" };
  if (response.status === 403) return { kind: "forbidden" };
  if (response.status === 503 || response.status === 429) {
    return { kind: "full", retryAfterMs: retryAfterMs(response.headers.get("Retry-After")) };
  }
  return undefined;
}

/** The milliseconds that a Retry-After header asks for; 0 if it is absent or a date. */
export function retryAfterMs(header: string | null): number {
  const seconds = Number(header ?? "");
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, MAX_RETRY_AFTER_S) * 1000 : 0;
}
