/** What the page and the feed's thread tell each other. `session` tells the messages of one event from those of the next. */
import type { Batch } from "./conflator.ts";
import type { EntriesByDevice } from "./entries.ts";
import type { FeedState } from "./state.ts";

export type ToWorker =
  | {
      readonly type: "start";
      readonly session: number;
      readonly eventId: string;
      /** Of the WebSocket. */
      readonly url: string;
      /** Addresses to ask, in this order, when the server refuses the WebSocket. */
      readonly probeUrls: readonly string[];
    }
  | { readonly type: "retry" | "renew" };

export type FromWorker =
  | { readonly type: "state"; readonly session: number; readonly state: FeedState }
  | { readonly type: "renewed"; readonly session: number }
  | { readonly type: "entries"; readonly session: number; readonly entries: EntriesByDevice; readonly replaces: boolean }
  | { readonly type: "batch"; readonly session: number; readonly batch: Batch; readonly received: number };
