/** Asks the server for what was. */
import { retryAfterMs } from "../feed/probe.ts";
import { parseExtent, parsePast, type Extent, type Past } from "./past.ts";

const TIMEOUT_MS = 15_000;
const ATTEMPTS = 4;
const FIRST_WAIT_MS = 1_000;

type Fetch = (url: string, options: RequestInit) => Promise<Response>;
type Wait = (ms: number) => Promise<void>;

export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
  /** Of each device the first position in each of these intervals; 0 = all. */
  readonly stepMs: number;
  /** Of each device only so many, the newest; left out = all. */
  readonly newest?: number;
}

type Answer = { readonly body: unknown } | { readonly againInMs: number };

export class Archive {
  /** `url` is the address of the endpoint. */
  constructor(
    private readonly url: string,
    private readonly fetcher: Fetch = (url, options) => fetch(url, options),
    private readonly wait: Wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  ) {}

  /** Read the beginning of a span, or all of it; undefined if it was aborted, is refused, or failed several times. */
  async read(eventId: string, span: Span, signal: AbortSignal): Promise<Past | undefined> {
    const query = new URLSearchParams({ event: eventId, from: String(span.fromMs), to: String(span.toMs) });
    if (span.stepMs > 0) query.set("step", String(span.stepMs));
    if (span.newest !== undefined) query.set("newest", String(span.newest));
    return parsePast(await this.get(`${this.url}?${query}`, signal));
  }

  /** When an event began and when its last position was taken; undefined as above. */
  async extent(eventId: string, signal: AbortSignal): Promise<Extent | "empty" | undefined> {
    return parseExtent(await this.get(`${this.url}/extent?${new URLSearchParams({ event: eventId })}`, signal));
  }

  private async get(url: string, signal: AbortSignal): Promise<unknown> {
    for (let attempt = 0; attempt < ATTEMPTS && !signal.aborted; attempt++) {
      const answer = await this.ask(url, signal);
      if ("body" in answer) return signal.aborted ? undefined : answer.body;
      await this.wait(Math.max(answer.againInMs, FIRST_WAIT_MS * 2 ** attempt));
    }
    return undefined;
  }

  private async ask(url: string, signal: AbortSignal): Promise<Answer> {
    try {
      const response = await this.fetcher(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]) });
      if (response.status === 200) return { body: await response.json() };
      await response.body?.cancel();
      if (response.status !== 503 && response.status !== 429) return { body: undefined };
      return { againInMs: retryAfterMs(response.headers.get("Retry-After")) };
    } catch {
      // fetch rejects in the same way for an abort, a timeout and every network failure.
      return { againInMs: 0 };
    }
  }
}
