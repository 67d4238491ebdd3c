/** Somebody comes back to the page, from another tab perhaps, where they signed in. */

export function onReturn(returned: () => void): void {
  let away = document.hidden || !document.hasFocus();
  const leave = (): void => {
    away = true;
  };
  const comeBack = (): void => {
    // The window and the document tell of one return both.
    if (document.hidden || !away) return;
    away = false;
    returned();
  };
  addEventListener("blur", leave);
  addEventListener("focus", comeBack);
  // A frame is not focused when its page is shown again.
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : comeBack()));
}
