// The menu of a page with sections: links of which one is of the present section.

import { css, html, nothing } from "../elements/base/element.js";
import { addressOf } from "./place.js";

/** `sections` are the texts of the links by the names of the sections. */
export function sectionMenu(element, view, sections, shown, label) {
  return html`<nav aria-label=${label}>
    ${Object.entries(sections).map(
      ([name, text]) => html`<a href=${addressOf(view, name)} aria-current=${name === shown ? "page" : nothing}
        >${element.t(text)}</a
      >`,
    )}
  </nav>`;
}

const shown = new WeakMap(); // the link to which an element has scrolled

/** Scrolls to the link of the present section, which may be out of sight on a phone, when it has become another one. */
export function showPresentLink(element) {
  const link = element.renderRoot.querySelector("nav [aria-current]");
  if (link && link !== shown.get(element)) link.scrollIntoView({ block: "nearest", inline: "center" });
  shown.set(element, link);
}

export const menuStyles = css`
  nav {
    display: flex;
    gap: 0 1.25rem;
    margin-block: 1rem 1.5rem;
    border-block-end: 1px solid var(--hm-line, #d5d8df);
    overflow-x: auto;
  }
  nav a {
    display: inline-grid;
    flex: none;
    align-items: center;
    min-height: 2.75rem;
    color: inherit;
    text-decoration: none;
  }
  nav a[aria-current] {
    box-shadow: inset 0 -3px 0 var(--hm-accent, #4a3fd6);
    font-weight: 600;
  }
  nav a:focus-visible {
    outline-offset: -3px;
  }
`;
