// The looks of the packs.

import { css } from "../base/element.js";

export const packStyles = css`
  fieldset {
    display: grid;
    gap: 0.5rem;
    margin: 0;
    padding: 0;
    border: 0;
  }
  .pack {
    display: grid;
    grid-template-columns: auto 1fr auto;
    gap: 0.75rem;
    align-items: center;
    min-height: 4rem;
    padding: 0.625rem 1rem;
    border: 1px solid var(--hm-line, #d5d8df);
    border-radius: var(--hm-radius, 0.75rem);
    font-size: 1rem;
    font-variant-numeric: tabular-nums;
    cursor: pointer;
  }
  .pack:has(:checked) {
    border-color: var(--hm-accent, #4a3fd6);
    box-shadow: inset 0 0 0 1px var(--hm-accent, #4a3fd6);
  }
  .pack:has(:focus-visible) {
    outline: 3px solid var(--hm-focus, #4a3fd6);
    outline-offset: 2px;
  }
  .pack input {
    width: 1.25rem;
    height: 1.25rem;
    margin: 0;
    outline: 0;
    accent-color: var(--hm-accent, #4a3fd6);
  }
  .what,
  .cost {
    display: grid;
  }
  .cost {
    text-align: end;
  }
  a.button {
    display: grid;
    place-items: center;
    min-height: 2.75rem;
    padding-inline: 1rem;
    border-radius: var(--hm-radius, 0.75rem);
    background: var(--hm-accent, #4a3fd6);
    color: var(--hm-on-accent, #fff);
    font-weight: 600;
    text-decoration: none;
  }
`;
