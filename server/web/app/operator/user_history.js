// <hm-user-history>: what one user did, kind by kind, with the refunds of calls, tips and tickets.
//
// Property `userId`. Fires `refunded` after a refund.

import { listView } from "../../elements/base/list_view.js";
import { PagedList } from "../../elements/base/paged_list.js";
import { moment, price } from "../../elements/base/words.js";
import { MoneyElement, html, nothing } from "../../elements/money/money_element.js";
import { sectionStyles } from "../section_styles.js";
import "./decision_form.js";
import { userLink } from "./links.js";
import { operatorStyles } from "./styles.js";

const SHOWN = 20;
const USER_ID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;
const KINDS = {
  ledger: { read: "getAdminUsersUserIdLedger", idOf: ({ n }) => n },
  calls: { read: "getAdminUsersUserIdCalls", idOf: ({ id }) => id },
  tips: { read: "getAdminUsersUserIdTips", idOf: ({ tipId, role }) => `${tipId}${role}` },
  purchases: { read: "getAdminUsersUserIdPurchases", idOf: ({ purchaseId }) => purchaseId },
  reports: { read: "getAdminUsersUserIdReports", idOf: ({ reportId }) => reportId },
  sessions: { read: "getAdminUsersUserIdSessions", idOf: ({ sessionId }) => sessionId },
};

export class UserHistory extends MoneyElement {
  static properties = {
    userId: { attribute: false },
    kind: { state: true },
    opened: { state: true }, // the item that may be refunded
  };
  static styles = [...MoneyElement.styles, sectionStyles, operatorStyles];

  #list = new PagedList(
    this,
    (item) => KINDS[this.kind].idOf(item),
    () => this.api[KINDS[this.kind].read]({ userId: this.userId, limit: SHOWN }),
  );

  constructor() {
    super();
    this.kind = "ledger";
  }

  willUpdate(changed) {
    if (!changed.has("userId") && !changed.has("kind") && !changed.has("api")) return;
    this.opened = undefined;
    if (this.api) this.#list.load();
  }

  begin(client) {
    super.begin(client);
    this.#list.load();
  }

  render() {
    return html`<section class="stack">
      <h2>${this.t("operator.history")}</h2>
      <div class="row" role="group" aria-label=${this.t("operator.history.kind")}>
        ${Object.keys(KINDS).map((kind) => this.#kindButton(kind))}
      </div>
      ${listView(this, this.#list, this.t("operator.history.empty"), (items) => this.#items(items))}
    </section>`;
  }

  /** Reads what is shown anew, after something else has changed it. */
  reread() {
    return this.#list.reread();
  }

  #kindButton(kind) {
    const show = () => (this.kind = kind);
    return html`<button type="button" class="quiet" aria-pressed=${kind === this.kind} @click=${show}>
      ${this.t(`operator.history.${kind}`)}
    </button>`;
  }

  #items(items) {
    const show = {
      ledger: (item) => this.#entry(item),
      calls: (item) => this.#call(item),
      tips: (item) => this.#tip(item),
      purchases: (item) => this.#purchase(item),
      reports: (item) => this.#report(item),
      sessions: (item) => this.#session(item),
    }[this.kind];
    return html`<ul class="list">
      ${items.map((item) => html`<li>${show(item)} ${this.#refund(item)}</li>`)}
    </ul>`;
  }

  #entry({ kind, side, tokens, balanceAfter, counterparty, memo, at }) {
    const isOwn = ["block", "tip", "ticket"].includes(kind) && side === "credit";
    const other = USER_ID.test(counterparty) ? userLink(counterparty) : counterparty;
    return html`<span>
        ${this.t(isOwn ? `ledger.kind.${kind}.in` : `ledger.kind.${kind}`)} · ${other}
        ${memo ? html`<br /><span class="small">${memo}</span>` : nothing}<br />
        ${this.#time(at)}
      </span>
      <span class="end tabular">
        ${this.#signed(tokens)}<br /><span class="small quiet-text">${this.tokens(balanceAfter)}</span>
      </span>`;
  }

  #call({ fan, creator, status, tokens, refundedTokens, createdAt }) {
    return html`<span>
        ${userLink(fan.userId, fan.displayName)} → ${userLink(creator.userId, creator.displayName)}<br />
        <span class="small quiet-text">${this.t(`operator.call.${status}`)} · ${moment(this.language, createdAt)}</span>
      </span>
      <span class="end tabular">${this.tokens(tokens)} ${this.#refunded(refundedTokens)}</span>`;
  }

  #tip({ role, amountTokens, counterparty, message, at }) {
    return html`<span>
        ${this.t(`operator.tip.${role}`)} ${USER_ID.test(counterparty) ? userLink(counterparty) : counterparty}
        ${message ? html`<br /><bdi class="small">${message}</bdi>` : nothing}<br />
        ${this.#time(at)}
      </span>
      <span class="end tabular">${this.tokens(amountTokens)}</span>`;
  }

  #purchase({ status, tokens, priceCents, currency, reversedAs, createdAt }) {
    return html`<span>
        ${this.t(`operator.purchase.${status}`)}
        ${reversedAs ? html`· <span class="bad">${this.t(`operator.reversal.${reversedAs}`)}</span>` : nothing}<br />
        ${this.#time(createdAt)}
      </span>
      <span class="end tabular">
        ${price(this.language, priceCents, currency)}<br />
        <span class="small quiet-text">${this.tokens(tokens)}</span>
      </span>`;
  }

  #report({ reporterId, userId, reason, createdAt }) {
    return html`<span>
        ${reporterId ? userLink(reporterId) : "–"} → ${userLink(userId)}<br />
        <bdi>${reason}</bdi><br />
        ${this.#time(createdAt)}
      </span>`;
  }

  #session({ connected, isOverlay, rooms, tokenExpiresAt }) {
    return html`<span>
        ${this.t(isOverlay ? "operator.session.overlay" : "operator.session.app")} ·
        ${this.t(connected ? "operator.session.connected" : "operator.session.away")}<br />
        <span class="small quiet-text">
          ${this.t("operator.session.expires", { at: moment(this.language, tokenExpiresAt) })}
        </span>
      </span>
      <span class="end small">${this.t("operator.session.rooms", { count: rooms.length })}</span>`;
  }

  #refunded(tokens) {
    if (!tokens) return nothing;
    return html`<br /><span class="small quiet-text">${this.t("operator.refunded", { tokens })}</span>`;
  }

  #time(at) {
    return html`<time class="small quiet-text" datetime=${at}>${moment(this.language, at)}</time>`;
  }

  #signed(tokens) {
    return new Intl.NumberFormat(this.language, { signDisplay: "exceptZero" }).format(tokens);
  }

  #refund(item) {
    const payment = this.#paymentOf(item);
    if (!payment) return nothing;
    if (this.opened === item) return this.#refundForm(payment);
    return html`<div class="whole row">
      <button type="button" class="quiet" @click=${() => (this.opened = item)}>${this.t("operator.refund")}</button>
    </div>`;
  }

  /** What a refund names, if the user has paid something by this item. */
  #paymentOf(item) {
    if (this.kind === "calls" && item.tokens > item.refundedTokens) return { callId: item.id };
    if (this.kind === "tips" && item.role === "sent" && item.tipId) return { tipId: item.tipId };
    if (this.kind === "ledger" && item.kind === "ticket" && item.side === "debit") return { ticketId: item.refId };
    return undefined;
  }

  #refundForm(payment) {
    return html`<hm-decision-form
      class="whole"
      .choices=${{ refund: this.t("operator.refund.now") }}
      .decide=${(choice, { reason }, key) =>
        this.api.postAdminRefunds({ ...payment, reason, ...(choice === "confirm" && { confirm: true }) }, { key })}
      @cancel=${() => (this.opened = undefined)}
      @decided=${() => this.#paidBack()}
    ></hm-decision-form>`;
  }

  #paidBack() {
    this.opened = undefined;
    this.tell("refunded");
    return this.#list.reread();
  }
}

customElements.define("hm-user-history", UserHistory);
