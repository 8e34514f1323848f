// The looks that the elements about money share: cards, figures, fields, notices and lists.

import { css } from "../base/element.js";

export const moneyStyles = css`
  * {
    box-sizing: border-box;
  }
  h2,
  h3,
  p,
  dl,
  ul {
    margin: 0;
    padding: 0;
  }
  h2 {
    font-size: 1.25rem;
    line-height: 1.3;
  }
  h3 {
    font-size: 1rem;
  }
  .stack {
    display: grid;
    gap: var(--hm-space, 1rem);
  }
  .row {
    display: flex;
    flex-wrap: wrap;
    gap: 0.5rem;
    align-items: center;
  }
  .row.apart {
    justify-content: space-between;
  }
  .card {
    padding: 1.25rem;
    border-radius: var(--hm-radius, 0.75rem);
    background: var(--hm-panel, #f4f5f8);
  }
  .figure {
    overflow-wrap: anywhere;
    font-size: 2.25rem;
    font-weight: 700;
    line-height: 1.2;
    font-variant-numeric: tabular-nums;
  }
  .good {
    color: var(--hm-good, #17663a);
  }
  label,
  .label {
    display: grid;
    gap: 0.25rem;
    font-size: 0.9375rem;
  }
  input:not([type="radio"]),
  select,
  textarea {
    width: 100%;
    min-width: 0;
    min-height: 2.75rem;
    padding: 0.5rem 0.75rem;
    border: 1px solid var(--hm-quiet, #565e6c);
    border-radius: var(--hm-radius, 0.75rem);
    background: var(--hm-paper, #fff);
    color: inherit;
    font: inherit;
    font-variant-numeric: tabular-nums;
  }
  button {
    user-select: none;
  }
  button[aria-disabled="true"] {
    opacity: 0.55;
    cursor: default;
  }
  dl {
    display: grid;
    grid-template-columns: 1fr auto;
    gap: 0.5rem 1rem;
  }
  dt {
    color: var(--hm-quiet, #565e6c);
  }
  dd {
    margin: 0;
    text-align: end;
    font-variant-numeric: tabular-nums;
  }
  details > summary {
    display: flex;
    gap: 0.5rem;
    align-items: center;
    justify-content: space-between;
    min-height: 2.75rem;
    font-weight: 600;
    cursor: pointer;
  }
  summary::after {
    content: "";
    width: 0.5rem;
    height: 0.5rem;
    margin-inline: 0.5rem 0.25rem;
    border: solid currentColor;
    border-width: 0 2px 2px 0;
    transform: rotate(45deg);
  }
  details[open] > summary::after {
    transform: rotate(225deg);
  }
  a {
    color: var(--hm-accent, #4a3fd6);
  }
  .list {
    display: grid;
    list-style: none;
  }
  .list > li {
    display: grid;
    grid-template-columns: minmax(0, 1fr) auto;
    gap: 0 1rem;
    padding-block: 0.75rem;
    border-block-start: 1px solid var(--hm-line, #d5d8df);
  }
  .list > li:first-child {
    border-block-start: 0;
  }
  .list .end {
    text-align: end;
  }
  .list a {
    display: flex;
    grid-column: 1 / -1;
    align-items: center;
    justify-self: end;
    min-height: 2.75rem;
  }
  .small {
    font-size: 0.875rem;
  }
`;
