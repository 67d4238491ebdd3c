/** What follows when a subscription or a connection ends: another attempt, or a state that stays until the user acts. */
import type { Refusal } from "./probe.ts";
import { CloseCode, type ErrorFrame } from "./protocol.ts";
import { leading, signedOut, type FeedState } from "./state.ts";

export type Ending =
  | { readonly kind: "end"; readonly state: FeedState }
  | { readonly kind: "retry"; readonly text: string; readonly atLeastMs: number };

/** The server closes with 4429 when this client asked too much: stay away for a while. */
const TOO_MANY_REQUESTS_MS = 15_000;

const CLOSED: Readonly<Record<number, string>> = {
  [CloseCode.shutdown]: "The server is restarting.",
  [CloseCode.frameTooLarge]: "The server refused a message because it was too large.",
  [CloseCode.slowClient]: "This connection was too slow to keep up.",
  [CloseCode.tooManyRequests]: "The server asks for fewer requests.",
};

/** After an error frame, whose message is the server's sentence if it has one. */
export function afterError({ code, message, signInUrl }: ErrorFrame): Ending {
  switch (code) {
    case "forbidden":
      return end(leading({ name: "forbidden", text: message || "You may not see this event." }, signInUrl));
    case "not-found":
    case "unknown-topic":
      return end({ name: "not-found", text: message || "There is no such event." });
    case "limit":
    case "error":
      return retry(message || "The server cannot show this event now.");
    default:
      return end({ name: "error", text: "The server did not understand this page. Please reload it." });
  }
}

/** After an open connection was closed with this code. */
export function afterClose(code: number): Ending {
  return retry(CLOSED[code] ?? "The connection was lost.", code === CloseCode.tooManyRequests ? TOO_MANY_REQUESTS_MS : 0);
}

/** After an upgrade that failed, once the server has said by plain HTTP why. */
export function afterRefusal(refusal: Refusal): Ending {
  switch (refusal.kind) {
    case "signed-out":
      return end(signedOut(refusal.text, refusal.signInUrl));
    case "forbidden":
      return end({ name: "forbidden", text: refusal.text ?? "This server does not accept connections from this page." });
    case "refused":
      return end({ name: "error", text: refusal.text ?? "The server does not accept what this browser sends." });
    case "missing":
      return end({ name: "error", text: `This server has no live positions at ${refusal.path}.` });
    case "full":
      return retry(refusal.text ?? "The server is full or busy.", refusal.retryAfterMs);
    case "unreachable":
      return retry("The server cannot be reached.");
    case "none":
      return retry("The connection was lost.");
  }
}

function end(state: FeedState): Ending {
  return { kind: "end", state };
}

function retry(text: string, atLeastMs = 0): Ending {
  // The status says itself when it tries again.
  return { kind: "retry", text: text.replace(/ Try again\.$/, ""), atLeastMs };
}
