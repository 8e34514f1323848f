// A call that is over: why it ended, and the receipt with every block.

import { css, html, nothing } from "../base/element.js";
import { noticeView } from "../base/notice.js";
import { clock, languageOf } from "../base/words.js";

export function endedView(element) {
  const { call, session } = element;
  const { activeSeconds = 0 } = call.ended;
  return html`<section class="card" part="ended">
    <div role="alert"><h2 data-focus tabindex="-1">${reasonText(element)}</h2></div>
    <p class="tabular">
      ${sumText(element)}
      ${activeSeconds ? element.t("call.lasted", { time: clock(Math.floor(activeSeconds)) }) : nothing}
    </p>
    ${noticeView(element, session.receiptError, () => session.readReceipt())}
    ${call.ended.blocks > 0 && !session.receiptError ? blocksView(element) : nothing} ${wayOnView(element)}
    <div class="buttons"><button class="quiet" @click=${element.close}>${element.t("call.close")}</button></div>
    ${reportView(element)}
  </section>`;
}

function reportView(element) {
  const { id, role, fan, creator } = element.call;
  const { userId } = role === "fan" ? creator : fan;
  return html`<hm-report-button user-id=${userId} name=${element.name} room-id=${id}></hm-report-button>`;
}

function wayOnView(element) {
  const { call, session } = element;
  if (call.role !== "fan" || call.ended.reason !== "insufficient_funds") return nothing;
  const required = Math.ceil((call.rateTokensPerMin * session.blockSeconds) / 60);
  return html`<slot name="top-up"
    ><button @click=${() => element.topUp(required)}>${element.t("funds.top-up")}</button></slot
  >`;
}

function reasonText(element) {
  const { role, ended } = element.call;
  const { name } = element;
  const isFan = role === "fan";
  switch (ended.reason) {
    case "declined":
      return isFan ? element.t("call.ended.declined", { name }) : element.t("call.ended.you-declined", { name });
    case "missed":
      return isFan ? element.t("call.ended.no-answer", { name }) : element.t("call.ended.missed", { name });
    case "cancelled":
      return isFan ? element.t("call.ended.you-cancelled") : element.t("call.ended.cancelled", { name });
    case "hangup":
      return isFan ? element.t("call.ended.you") : element.t("call.ended.other", { name });
    case "creator_ended":
      return isFan ? element.t("call.ended.other", { name }) : element.t("call.ended.you");
    case "insufficient_funds":
      return element.t("call.ended.funds");
    case "budget_reached":
      return element.t("call.ended.budget");
    case "peer_lost":
      return element.t("call.ended.lost");
    case "pause_limit":
      return element.t("call.ended.pause");
    default:
      return element.t("call.ended.server");
  }
}

function sumText(element) {
  const { call, session } = element;
  const { tokens: count } = session.receipt?.totals ?? call.ended; // less what was given back
  if (call.ended.blocks === 0) return element.t("call.free");
  return call.role === "fan" ? element.t("call.paid", { count }) : element.t("call.earned", { count });
}

function blocksView(element) {
  const { receipt } = element.session;
  if (!receipt) return html`<p class="quiet-text" role="status">${element.t("loading")}</p>`;
  const time = new Intl.DateTimeFormat(languageOf(element), { timeStyle: "medium" });
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${element.t("call.receipt")}>
    <table class="tabular" part="receipt">
      <caption>
        ${element.t("call.receipt")}
      </caption>
      <thead>
        <tr>
          <th scope="col">${element.t("call.receipt.block")}</th>
          <th scope="col">${element.t("call.receipt.time")}</th>
          <th scope="col">${element.t("call.receipt.tokens")}</th>
        </tr>
      </thead>
      <tbody>
        ${receipt.blocks.map((block) => blockRow(element, block, time))}
      </tbody>
    </table>
  </div>`;
}

function blockRow(element, { blockNo, tokens, chargedAt, refundedTokens }, time) {
  const back = refundedTokens
    ? html`<small>${element.t("call.receipt.back", { count: refundedTokens })}</small>`
    : nothing;
  return html`<tr>
    <td>${blockNo}</td>
    <td>${time.format(new Date(chargedAt))}</td>
    <td>${new Intl.NumberFormat(languageOf(element)).format(tokens)} ${back}</td>
  </tr>`;
}

export const receiptStyles = css`
  .scroll {
    overflow: auto;
    max-height: 20rem;
  }
  table {
    width: 100%;
    border-collapse: collapse;
  }
  caption {
    padding-block-end: 0.5rem;
    font-weight: 600;
    text-align: start;
  }
  th,
  td {
    padding: 0.5rem 0;
    border-block-end: 1px solid var(--hm-line, #d5d8df);
    font-weight: 400;
    text-align: start;
  }
  th {
    color: var(--hm-quiet, #5b6270);
    font-size: 0.875rem;
  }
  th:last-child,
  td:last-child {
    text-align: end;
  }
  small {
    display: block;
    color: var(--hm-good, #17663a);
  }
`;
