/** Somebody comes back to the page, from another tab perhaps, where they signed in. */

/** The window and the document tell of one return within the same moment. */
const SAME_MS = 500;

export function onReturn(returned: () => void): void {
  let toldAt = -Infinity;
  const tell = (): void => {
    if (document.hidden || performance.now() - toldAt < SAME_MS) return;
    toldAt = performance.now();
    returned();
  };
  addEventListener("focus", tell);
  // A frame is not focused when its page is shown again.
  document.addEventListener("visibilitychange", tell);
}
