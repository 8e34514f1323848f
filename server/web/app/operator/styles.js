// The looks that the sections of the operator's page share: lists with decisions, and facts about one thing.

import { css } from "../../elements/base/element.js";

export const operatorStyles = css`
  .list > li > span {
    min-width: 0;
    overflow-wrap: anywhere;
  }
  .list a.user,
  a.user {
    display: inline;
    min-height: 0;
    font-weight: 600;
  }
  .list > li > .whole {
    grid-column: 1 / -1;
    margin-block-start: 0.5rem;
  }
  .facts {
    grid-template-columns: minmax(8rem, auto) 1fr;
  }
  .facts dd {
    overflow-wrap: anywhere;
    text-align: start;
  }
  .columns {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
    gap: var(--hm-space, 1rem);
    align-items: start;
  }
  .card {
    min-width: 0;
  }
  .card h3 {
    margin-block-end: 0.75rem;
  }
  :is(hm-operator-proof, hm-user-history) {
    margin-block-end: 2.5rem;
  }
  hm-user-history {
    margin-block-start: 2.5rem;
  }
  .reason {
    overflow-wrap: anywhere;
  }
  hm-decision-list + hm-decision-list {
    margin-block-start: 1.5rem;
  }
  .bad:not(.notice) {
    color: var(--hm-bad, #b3261e);
  }
  .code {
    font-family: ui-monospace, monospace;
    font-size: 0.8125rem;
    overflow-wrap: anywhere;
  }
`;
