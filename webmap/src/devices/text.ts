/** Texts that somebody else wrote, among ours. */

/** A text that keeps its own direction within a line, whichever way its letters are read (Unicode's FSI and PDI). */
export function isolate(text: string): string {
  return text === "" ? "" : `\u2068${text}\u2069`;
}

/** At most so many characters of a text, the last of which says that there were more. */
export function shorten(text: string, most: number): string {
  const characters = [...text];
  return characters.length <= most ? text : `${characters.slice(0, most - 1).join("").trim()}…`;
}
