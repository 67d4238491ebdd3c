/** What is remembered on this device, as far as the browser lets the page. */

export function remember(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage may be forbidden or full: the choice then lasts until the page is closed.
  }
}

export function remembered(key: string): string | undefined {
  try {
    return localStorage.getItem(key) ?? undefined;
  } catch {
    // A browser that blocks storage throws here.
    return undefined;
  }
}
