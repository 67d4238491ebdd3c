/** Typed access to the elements of index.html. */

/** The element with this id. It must exist and be of this kind, because the page and its script ship together. */
export function byId<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html has no ${kind.name} #${id}`);
  return found;
}

/** Set a text only if it differs: an unchanged node costs no layout. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Append an empty part of a class to an element. */
export function part(parent: Element, kind: string): HTMLElement {
  const span = document.createElement("span");
  span.className = kind;
  parent.append(span);
  return span;
}
