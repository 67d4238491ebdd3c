/** What the page and the feed's thread say to each other. `session` tells one event's messages from the next one's. */
import type { Batch } from "./conflate.ts";
import type { FeedState } from "./state.ts";

export type ToWorker =
  | {
      readonly type: "start";
      readonly session: number;
      readonly eventId: string;
      readonly url: string;
      readonly probeUrls: readonly string[];
    }
  | { readonly type: "retry" }
  | { readonly type: "stop" };

export type FromWorker =
  | { readonly type: "state"; readonly session: number; readonly state: FeedState }
  | { readonly type: "batch"; readonly session: number; readonly batch: Batch; readonly received: number };
