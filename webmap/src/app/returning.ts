/** Somebody comes back to the page, from another tab perhaps, where they signed in. */
export function onReturn(returned: () => void): void {
  addEventListener("focus", returned);
}
