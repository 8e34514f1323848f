// The looks that the parts of the studio and of the operator's page share: sections, fields, choices, and tables.

import { css } from "../elements/base/element.js";

export const sectionStyles = css`
  h1 {
    margin-block: 0.5rem 1rem;
  }
  h2 {
    margin: 0;
  }
  section + section {
    margin-block-start: 2.5rem;
  }
  .fault {
    color: var(--hm-bad, #b3261e);
    font-size: 0.875rem;
  }
  .hint {
    color: var(--hm-quiet, #565e6c);
    font-size: 0.875rem;
  }
  [aria-invalid="true"] {
    border-color: var(--hm-bad, #b3261e);
    box-shadow: 0 0 0 1px var(--hm-bad, #b3261e);
  }
  .state {
    margin: 0;
    font-size: 0.9375rem;
  }
  .state:empty {
    position: absolute; /* it stays in the page, for what it will announce, and takes no room */
  }
  .state.warn {
    color: var(--hm-warn, #8a4b00);
  }
  .state.good {
    color: var(--hm-good, #17663a);
  }
  button[aria-pressed="true"] {
    border-color: var(--hm-accent, #4a3fd6);
    box-shadow: inset 0 0 0 1px var(--hm-accent, #4a3fd6);
  }
  table {
    width: 100%;
    border-collapse: collapse;
    font-variant-numeric: tabular-nums;
  }
  caption {
    padding-block: 0.25rem;
    color: var(--hm-quiet, #565e6c);
    font-size: 0.875rem;
    text-align: start;
  }
  th {
    padding-block: 0.5rem;
    font-size: 0.9375rem;
    text-align: start;
  }
  thead th {
    color: var(--hm-quiet, #565e6c);
    font-size: 0.875rem;
    font-weight: 600;
    vertical-align: bottom;
  }
  tbody th {
    font-weight: 400;
    overflow-wrap: anywhere;
  }
  tbody :is(td, th),
  tfoot :is(td, th) {
    padding-block: 0.625rem;
    border-block-start: 1px solid var(--hm-line, #d5d8df);
  }
  tfoot {
    font-weight: 600;
  }
  td,
  th.end {
    padding-inline-start: 0.75rem;
    text-align: end;
  }
`;
