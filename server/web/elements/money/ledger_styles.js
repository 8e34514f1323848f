// The looks of a statement.

import { css } from "../base/element.js";

export const ledgerStyles = css`
  .filter {
    display: grid;
    grid-template-columns: 1fr 1fr;
    gap: 0.75rem;
  }
  .kind {
    grid-column: 1 / -1;
  }
  table {
    width: 100%;
    border-collapse: collapse;
    font-variant-numeric: tabular-nums;
  }
  th {
    padding-block: 0.5rem;
    color: var(--hm-quiet, #565e6c);
    font-size: 0.875rem;
    font-weight: 600;
    text-align: start;
    vertical-align: bottom;
  }
  td {
    padding-block: 0.625rem;
    border-block-start: 1px solid var(--hm-line, #d5d8df);
    vertical-align: top;
  }
  .end {
    /* Seven digits stay on one line beside a long memo; the largest amounts still break. */
    min-width: 5.5rem;
    padding-inline-start: 0.75rem;
    overflow-wrap: anywhere;
    text-align: end;
  }
  .memo,
  .name {
    overflow-wrap: anywhere;
  }
  @media (min-width: 40rem) {
    .filter {
      grid-template-columns: 2fr 1fr 1fr;
    }
    .kind {
      grid-column: auto;
    }
  }
`;
