/** The map alone, in a frame of another page: `?embed=1`. */
import { byId } from "../dom.ts";

export function isEmbedded(query: string): boolean {
  return new URLSearchParams(query).get("embed") === "1";
}

/** The link from there to all of it, which opens what is shown. */
export class Embedding {
  private readonly link = byId("whole-map", HTMLAnchorElement);
  private readonly embedded = isEmbedded(location.search);

  constructor() {
    if (this.embedded) document.body.dataset["embed"] = "";
    this.link.hidden = !this.embedded;
  }

  update(href: string): void {
    if (this.embedded && this.link.href !== href) this.link.href = href;
  }
}
