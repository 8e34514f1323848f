// The creator's card before a call: what it costs, what the balance is good for, and the button that rings.

import { css, html, nothing } from "./element.js";
import { portraitView } from "./person.js";
import { refusalView } from "./refusal.js";
import { clock } from "./words.js";

export function creatorView(element) {
  const { card, error } = element;
  if (!card && error) return refusalView(element, error, element.load);
  if (!card) return skeletonView(element);
  return html`<section class="card" part="card">
    <header>
      ${portraitView(card.displayName, card.pictureUrl)}
      <div>
        <h2 data-focus tabindex="-1">${card.displayName}</h2>
        <p class="quiet-text">${availability(element, card)}</p>
      </div>
    </header>
    ${card.about ? html`<p>${card.about}</p>` : nothing} ${priceView(element)} ${fundsView(element)}
    ${refusalView(element, shown(error), null)} ${buttonsView(element)}
  </section>`;
}

// Too few tokens are shown with the balance.
function shown(error) {
  return error?.code === "INSUFFICIENT_TOKENS" ? null : error;
}

function skeletonView(element) {
  return html`<section class="card skeleton" part="card" role="status">
    <span class="hidden-text">${element.t("loading")}</span>
    <header><span class="portrait"></span><i></i></header>
    <i></i><i class="short"></i>
  </section>`;
}

function availability(element, { acceptsCalls, online, busy }) {
  if (!acceptsCalls) return element.t("call.takes-none");
  if (!online) return element.t("call.away");
  return busy ? element.t("call.busy") : element.t("call.available");
}

function priceView(element) {
  const { rateTokensPerMin: rate } = element.card;
  const values = { seconds: element.blockSeconds, count: blockTokens(element) };
  const { maxTokens } = element;
  return html`<p class="price tabular" part="price">
    <strong>${element.t("call.rate", { count: rate })}</strong>
    <span class="quiet-text">${element.t("call.block", values)}</span>
    ${maxTokens ? html`<span class="quiet-text">${element.t("call.at-most", { count: maxTokens })}</span>` : nothing}
  </p>`;
}

function blockTokens({ card, blockSeconds }) {
  return Math.ceil((card.rateTokensPerMin * blockSeconds) / 60);
}

function fundsView(element) {
  const { balance, card } = element;
  const required = blockTokens(element);
  if (balance >= required) {
    const time = clock(Math.floor((balance / card.rateTokensPerMin) * 60));
    return html`<p class="tabular" part="balance">${element.t("call.lasts", { count: balance, time })}</p>`;
  }
  return html`<div class="notice warn" part="shortfall" role="status">
    <p class="tabular">${element.t("call.shortfall", { required, balance, shortfall: required - balance })}</p>
    <slot name="top-up"><button @click=${() => element.topUp(required)}>${element.t("call.top-up")}</button></slot>
  </div>`;
}

function buttonsView(element) {
  const { card, balance, busy } = element;
  const isFree = card.acceptsCalls && card.online && !card.busy;
  if (!isFree)
    return html`<button class="quiet" data-focus @click=${element.load}>${element.t("call.look-again")}</button>`;
  const isBusy = busy === "ring";
  const label = isBusy ? element.t("call.begins") : element.t("call.ring", { name: card.displayName });
  return html`<button
    class="main"
    part="ring-button"
    ?disabled=${balance < blockTokens(element)}
    aria-disabled=${isBusy}
    @click=${element.ring}
  >
    ${label}
  </button>`;
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
  .hidden-text {
    position: absolute;
    overflow: hidden;
    width: 1px;
    height: 1px;
    clip-path: inset(50%);
    white-space: nowrap;
  }
`;
