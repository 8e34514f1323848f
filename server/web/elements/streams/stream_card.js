// A stream before its room is joined: what it is, what it costs, and why it can or cannot be watched.

import { fundsView, skeletonView } from "../base/card.js";
import { html, nothing } from "../base/element.js";
import { nameOf, portraitView } from "../base/person.js";
import { noticeView } from "../base/notice.js";
import { languageOf, moment } from "../base/words.js";

export function streamCardView(element) {
  const { info, access, error } = element;
  if (!info && error) return noticeView(element, error, element.reload);
  if (!info || !access) return skeletonView(element);
  const name = nameOf(element, info.creator);
  return html`<section class="card" part="card">
    <header>
      ${portraitView(name, element.picture)}
      <div>
        <h2 data-focus tabindex="-1">${info.title}</h2>
        <p class="quiet-text">${name}, ${stateText(element)}</p>
      </div>
    </header>
    ${outcomeView(element)} ${info.status === "ended" ? nothing : priceView(element)}
    ${noticeView(element, error, error && element.reload)} ${wayView(element)}
    ${element.isOwner ? nothing : reportView(element)}
  </section>`;
}

function reportView(element) {
  const { id, creator } = element.info;
  const name = nameOf(element, creator);
  return html`<hm-report-button user-id=${creator.userId} name=${name} room-id=${id}></hm-report-button>`;
}

function stateText(element) {
  const { status, viewers, endedAt } = element.info;
  if (status === "live") return element.t("stream.live", { count: viewers });
  if (status === "scheduled") return element.t("stream.scheduled");
  return element.t("stream.over", { time: moment(languageOf(element), endedAt) });
}

function outcomeView(element) {
  const text = outcomeText(element);
  return text ? html`<div class="notice" part="outcome" role="alert"><p>${text}</p></div>` : nothing;
}

function outcomeText(element) {
  switch (element.outcome) {
    case null:
      return "";
    case "left":
      return element.isMetered ? element.t("stream.left-metered") : element.t("stream.left");
    case "ended":
      return element.t("stream.ended");
    case "insufficient_funds":
      return element.t("stream.no-funds");
    case "removed":
      return element.t("stream.removed");
    case "ticket_refunded":
      return element.t("stream.ticket-refunded");
    case "banned":
      return element.t("stream.banned");
    default:
      return element.t("stream.signed-out");
  }
}

function priceView(element) {
  const { info } = element;
  if (element.isOwner) return nothing;
  const { ticketPriceTokens: ticket, rateTokensPerMin: rate } = info;
  if (ticket === null && rate === null) return html`<p class="price" part="price">${element.t("stream.free")}</p>`;
  const each = { count: rate === null ? 0 : element.blockTokens, seconds: info.blockSeconds };
  return html`<p class="price tabular" part="price">
    ${ticket === null ? nothing : html`<strong>${element.t("stream.ticket", { count: ticket })}</strong>`}
    ${
      rate === null
        ? nothing
        : html`<strong>${element.t("meter.rate", { count: rate })}</strong>
            <span class="quiet-text">${element.t("stream.block", each)}</span>`
    }
  </p>`;
}

function wayView(element) {
  const { info, access } = element;
  if (info.status === "ended") return nothing;
  if (access.reason === "banned") return html`<p>${element.t("stream.banned")}</p>`;
  if (!access.hasAccess) return ticketView(element);
  if (element.isOwner)
    return buttonView(element, info.status === "live" ? element.t("stream.return") : element.t("stream.start"));
  if (info.status === "scheduled") return html`<p role="status">${element.t("stream.waits")}</p>`;
  return html`${element.isMetered ? fundsView(element, info.rateTokensPerMin, element.blockTokens) : nothing}
  ${buttonView(element, element.t("stream.watch"), element.isMetered && element.balance < element.blockTokens)}`;
}

function ticketView(element) {
  const count = element.info.ticketPriceTokens;
  return html`<slot name="ticket">
    <button @click=${element.buyTicket}>${element.t("stream.buy-ticket", { count })}</button>
  </slot>`;
}

function buttonView(element, text, isShort = false) {
  const isBusy = element.busy.has("join");
  return html`<button part="join" ?disabled=${isShort} aria-disabled=${isBusy} @click=${element.join}>
    ${isBusy ? element.t("stream.joins") : text}
  </button>`;
}
