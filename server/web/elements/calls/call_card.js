// The creator's card before a call: what it costs, what the balance is good for, and the button that rings.

import { fundsView, skeletonView } from "../base/card.js";
import { html, nothing } from "../base/element.js";
import { portraitView } from "../base/person.js";
import { noticeView } from "../base/notice.js";

export function creatorView(element) {
  const { card, error } = element;
  if (!card && error) return noticeView(element, error, element.reload);
  if (!card) return skeletonView(element);
  return html`<section class="card" part="card">
    <header>
      ${portraitView(card.displayName, card.pictureUrl)}
      <div>
        <h2 data-focus tabindex="-1">${card.displayName}</h2>
        <p class="quiet-text">${availability(element, card)}</p>
      </div>
    </header>
    ${card.about ? html`<p>${card.about}</p>` : nothing} ${priceView(element)}
    ${fundsView(element, element.card.rateTokensPerMin, blockTokens(element))}
    ${noticeView(element, shown(error), null)} ${buttonsView(element)}
  </section>`;
}

// Too few tokens are shown with the balance.
function shown(error) {
  return error?.code === "INSUFFICIENT_TOKENS" ? null : error;
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
    <strong>${element.t("meter.rate", { count: rate })}</strong>
    <span class="quiet-text">${element.t("call.block", values)}</span>
    ${maxTokens ? html`<span class="quiet-text">${element.t("call.at-most", { count: maxTokens })}</span>` : nothing}
  </p>`;
}

function blockTokens({ card, blockSeconds }) {
  return Math.ceil((card.rateTokensPerMin * blockSeconds) / 60);
}

function buttonsView(element) {
  const { card, balance, busy } = element;
  const isFree = card.acceptsCalls && card.online && !card.busy;
  if (!isFree)
    return html`<button class="quiet" data-focus @click=${element.reload}>${element.t("call.look-again")}</button>`;
  const isBusy = busy.has("ring");
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
