// A notice of an error, with a way on, and the region whose changes screen readers announce.

import { css, html, nothing } from "./element.js";
import { explain } from "./faults.js";

/** A notice of the error, if there is one, with a button that tries again if there is something to try. */
export function noticeView(element, error, retry) {
  if (!error) return nothing;
  const again = retry && html`<button class="quiet" @click=${retry}>${element.t("retry")}</button>`;
  return html`<div class="notice bad" part="error" role="alert">
    <p>${explain(element, error)}</p>
    ${again}
  </div>`;
}

/**
 * Stays on the page while its content comes and goes: screen readers miss a region that is inserted with its text. They
 * announce what is new in it, such as a button that comes later, without the rest.
 */
export function regionView(content) {
  return html`<div class="region" role="status" aria-atomic="false">${content}</div>`;
}

export const noticeStyles = css`
  /* Takes no row of a grid. It stays displayed, or else screen readers would not know it. */
  .region:empty {
    position: absolute;
  }
  .notice {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.5rem 1rem;
    padding: 0.75rem 1rem;
    border: 1px solid var(--hm-line, #d5d8df);
    border-inline-start: 4px solid var(--hm-quiet, #5b6270);
    border-radius: var(--hm-radius, 0.75rem);
    background: var(--hm-paper, #fff);
    overflow-wrap: anywhere;
  }
  .notice p {
    flex: 1 1 14rem;
    margin: 0;
  }
  .notice h3,
  .notice p + p {
    flex-basis: 100%;
  }
  .notice.bad {
    border-inline-start-color: var(--hm-bad, #b3261e);
  }
  .notice.warn {
    border-inline-start-color: var(--hm-warn, #8a4b00);
  }
  .notice.done {
    border-inline-start-color: var(--hm-good, #17663a);
  }
`;
