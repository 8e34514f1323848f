// The looks of the sheet for a tip.

import { css } from "../base/element.js";

export const tipStyles = css`
  :host {
    display: inline-block;
  }
  [part="button"] {
    width: 100%;
  }
  fieldset {
    min-width: 0;
    margin: 0;
    padding: 0;
    border: 0;
  }
  fieldset:disabled {
    opacity: 0.7;
  }
  .presets {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr));
    gap: 0.5rem;
  }
  .preset {
    position: relative;
    place-items: center;
    align-content: center;
    min-height: 2.75rem;
    padding: 0.5rem;
    border: 1px solid var(--hm-quiet, #565e6c);
    border-radius: var(--hm-radius, 0.75rem);
    font-size: 1rem;
    font-weight: 600;
    font-variant-numeric: tabular-nums;
    cursor: pointer;
  }
  .preset:has(:checked) {
    border-color: var(--hm-accent, #4a3fd6);
    background: var(--hm-accent, #4a3fd6);
    color: var(--hm-on-accent, #fff);
  }
  .preset:has(:focus-visible) {
    outline: 3px solid var(--hm-focus, #4a3fd6);
    outline-offset: 2px;
  }
  textarea {
    resize: vertical;
  }
`;
