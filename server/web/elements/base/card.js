// A card: its frame, what stands there while it is read, and what the balance is good for.

import { css, html } from "./element.js";
import { clock } from "./words.js";

export function skeletonView(element) {
  return html`<section class="card skeleton" part="card" role="status">
    <span class="hidden-text">${element.t("loading")}</span>
    <header><span class="portrait"></span><i></i></header>
    <i></i><i class="short"></i>
  </section>`;
}

/** How long the balance lasts at a rate, or how much is missing for the first block of `required` tokens. */
export function fundsView(element, rateTokensPerMin, required) {
  const { balance } = element;
  if (balance >= required) {
    const time = clock(Math.floor((balance / rateTokensPerMin) * 60));
    return html`<p class="tabular" part="balance">${element.t("funds.lasts", { count: balance, time })}</p>`;
  }
  return html`<div class="notice warn" part="shortfall" role="status">
    <p class="tabular">${element.t("funds.shortfall", { required, balance, shortfall: required - balance })}</p>
    <slot name="top-up"><button @click=${() => element.topUp(required)}>${element.t("funds.top-up")}</button></slot>
  </div>`;
}

export const cardStyles = css`
  :host {
    container-type: inline-size;
  }
  .card {
    display: grid;
    gap: 1rem;
    max-width: 34rem;
    margin-inline: auto;
    padding: 1.25rem;
    border: 1px solid var(--hm-line, #d5d8df);
    border-radius: var(--hm-radius, 0.75rem);
    background: var(--hm-paper, #fff);
    overflow-wrap: anywhere;
  }
  .card > *,
  .card header > div {
    min-width: 0;
  }
  .card header {
    display: flex;
    align-items: center;
    gap: 1rem;
  }
  h2,
  .card p {
    margin: 0;
  }
  h2 {
    font-size: 1.25rem;
    line-height: 1.3;
  }
  h2:focus-visible {
    outline-offset: 4px;
  }
  /* A line of text follows closely. */
  .card header h2:focus-visible {
    outline-offset: 0;
  }
  .price {
    display: grid;
  }
  .price strong {
    font-size: 1.125rem;
  }
  .skeleton i {
    height: 1.25rem;
    border-radius: 0.5rem;
    background: var(--hm-panel, #f4f5f8);
  }
  .skeleton header i {
    flex: 1;
  }
  .skeleton .short {
    width: 60%;
  }
`;
