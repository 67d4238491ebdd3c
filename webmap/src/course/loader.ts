/** Asks the server for the course of the event that is open. */
import { Backoff } from "../feed/backoff.ts";
import { retryAfterMs } from "../feed/probe.ts";
import { parseCourse, type Course } from "./course.ts";

const TIMEOUT_MS = 15_000;
const RETRY = { firstMs: 1_000, maxMs: 30_000 };

type Fetch = (url: string, options: RequestInit) => Promise<Response>;
type Wait = (ms: number) => Promise<void>;
type Answer = { readonly course: Course | undefined } | { readonly againInMs: number };

export class CourseLoader {
  private asked: string | undefined;
  private aborter = new AbortController();

  /** `url` is the address of the endpoint; `found` is told of a course once it is there. */
  constructor(
    private readonly url: string,
    private readonly found: (course: Course) => void,
    private readonly fetcher: Fetch = (url, options) => fetch(url, options),
    private readonly wait: Wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  ) {}

  /** Ask for the course of an event, unless that was done; again and again while the server cannot answer. */
  async load(eventId: string): Promise<void> {
    if (this.asked === eventId) return;
    this.forget();
    this.asked = eventId;
    const { signal } = this.aborter;
    const backoff = new Backoff(RETRY);
    while (!signal.aborted) {
      const answer = await this.ask(`${this.url}?${new URLSearchParams({ event: eventId })}`, signal);
      if ("againInMs" in answer) await this.wait(backoff.next(answer.againInMs));
      else return answer.course === undefined || signal.aborted ? undefined : this.found(answer.course);
    }
  }

  /** Give up what is being asked. */
  forget(): void {
    this.asked = undefined;
    this.aborter.abort();
    this.aborter = new AbortController();
  }

  private async ask(url: string, signal: AbortSignal): Promise<Answer> {
    try {
      const response = await this.fetcher(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]) });
      if (response.status === 200) return { course: parseCourse(await response.json()) };
      await response.body?.cancel();
      if (response.status !== 503 && response.status !== 429) return { course: undefined };
      return { againInMs: retryAfterMs(response.headers.get("Retry-After")) };
    } catch {
      // fetch rejects in the same way for an abort, a timeout and every network failure.
      return { againInMs: 0 };
    }
  }
}
