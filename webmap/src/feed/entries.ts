/** Who the devices are: fields of Directus, which somebody filled in freely, made fit to be shown here, once. */

/** What is known of an entry; a text is empty where nothing is. */
export interface Entry {
  readonly name: string;
  readonly number: string;
  readonly class: string;
  /** `#rrggbb`, or empty. */
  readonly color: string;
  /** Names and texts of further fields. */
  readonly others: readonly (readonly [string, string])[];
}

export type EntriesByDevice = ReadonlyMap<string, Entry>;

/** As many as there may be devices. */
const MAX_ENTRIES = 65_536;
const MAX_FIELDS = 16;
const MAX_LENGTH = 80;
const KNOWN: ReadonlySet<string> = new Set(["name", "number", "class", "color"]);

/** Check the entries of a frame; undefined without any. */
export function parseEntries(value: unknown): EntriesByDevice | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const entries = Object.entries(value).slice(0, MAX_ENTRIES);
  return new Map(entries.filter(([, fields]) => typeof fields === "object" && fields !== null).map(([id, fields]) => [id, parseEntry(fields)]));
}

function parseEntry(fields: object): Entry {
  const texts = new Map(Object.entries(fields).slice(0, MAX_FIELDS).map(([name, value]) => [name.slice(0, MAX_LENGTH), toText(value)]));
  return {
    name: texts.get("name") ?? "",
    number: texts.get("number") ?? "",
    class: texts.get("class") ?? "",
    color: parseColor(texts.get("color") ?? ""),
    others: [...texts].filter(([name, text]) => !KNOWN.has(name) && text !== ""),
  };
}

function toText(value: unknown): string {
  if (typeof value === "number") return String(value);
  return typeof value === "string" ? [...value.slice(0, 2 * MAX_LENGTH)].slice(0, MAX_LENGTH).join("").trim() : "";
}

/** A colour as Directus' own field for colours has it, with six digits; empty for anything else. */
export function parseColor(text: string): string {
  const digits = /^#?([0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{8})$/i.exec(text)?.[1]?.toLowerCase();
  if (digits === undefined) return "";
  return `#${digits.length === 3 ? [...digits].map((digit) => digit + digit).join("") : digits.slice(0, 6)}`;
}
