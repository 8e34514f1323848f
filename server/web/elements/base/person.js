// A person's portrait: the picture, or the first letter of the name where there is none.

import { css, html, nothing } from "./element.js";

/** The name of a person, who may not have chosen one. */
export function nameOf(element, { displayName }) {
  return displayName || element.t("person.unnamed");
}

export function portraitView(name, pictureUrl) {
  // Pictures may have a path of the server from which this module was loaded.
  const picture = pictureUrl && html`<img alt="" src=${new URL(pictureUrl, import.meta.url).href} @error=${hide} />`;
  return html`<span class="portrait" part="portrait" aria-hidden="true"
    >${[...(name || "?")][0]}${picture || nothing}</span
  >`;
}

function hide({ target }) {
  target.hidden = true;
}

export const portraitStyles = css`
  .portrait {
    position: relative;
    display: grid;
    flex: none;
    place-items: center;
    overflow: hidden;
    width: 4rem;
    height: 4rem;
    border-radius: 50%;
    background: var(--hm-line, #d5d8df);
    font-size: 1.5rem;
    font-weight: 600;
  }
  .portrait img {
    position: absolute;
    inset: 0;
    width: 100%;
    height: 100%;
    object-fit: cover;
  }
  .portrait img[hidden] {
    display: none;
  }
`;
