/** A server that remembers positions, for tests. */
import { Archive } from "../../src/history/archive.ts";

export interface Fix {
  readonly deviceId: string;
  readonly ts: number;
  readonly lat: number;
}

/** Answers as the endpoint does, `most` positions of a device at a time. */
export class FakeServer {
  readonly asked: URL[] = [];
  readonly waits: number[] = [];
  /** Statuses of the next answers, before those of 200. */
  refusals: { status: number; retryAfter?: string }[] = [];
  readonly archive = new Archive(
    "http://server/live/history",
    (url) => Promise.resolve(this.answer(new URL(url))),
    (ms) => Promise.resolve(void this.waits.push(ms)),
  );

  constructor(
    private readonly fixes: readonly Fix[],
    private readonly most = Infinity,
  ) {}

  private answer(url: URL): Response {
    this.asked.push(url);
    const refusal = this.refusals.shift();
    if (refusal !== undefined) {
      const headers = refusal.retryAfter === undefined ? {} : { "Retry-After": refusal.retryAfter };
      return new Response("{}", { status: refusal.status, headers });
    }
    const [from, to, step, newest] = ["from", "to", "step", "newest"].map((name) => Number(url.searchParams.get(name) ?? 0)) as [number, number, number, number];
    const inside = this.fixes.filter(({ ts }) => from <= ts && ts < to);
    const tracks = [...new Set(inside.map(({ deviceId }) => deviceId))].map((deviceId) => ({
      deviceId,
      fixes: thinned(inside.filter((fix) => fix.deviceId === deviceId), step),
    }));
    const end = newest > 0 ? to : Math.min(to, ...tracks.map(({ fixes }) => fixes[this.most]?.ts ?? to));
    const devices = tracks.map(({ deviceId, fixes }) => {
      const kept = fixes.filter(({ ts }) => ts < end).slice(-newest);
      const zeros = kept.map(() => 0);
      return { deviceId, ts: kept.map(({ ts }) => ts), lat: kept.map(({ lat }) => lat), lon: zeros, speed: zeros, course: zeros };
    });
    return Response.json({ event: url.searchParams.get("event"), from, to: end, step, devices });
  }
}

function thinned(fixes: readonly Fix[], step: number): readonly Fix[] {
  const part = (fix: Fix | undefined): number => Math.floor((fix?.ts ?? -1) / step);
  return step === 0 ? fixes : fixes.filter((fix, at) => at === 0 || part(fix) !== part(fixes[at - 1]));
}
