// <hm-ticket-dialog stream open>: what it costs to watch a stream, whether the user has access, and the purchase of a
// ticket. `stream` is the id of the stream; the methods `show` and `close` set and remove `open`.
//
// Event `access` with `streamId`, `channel` and `reason` as soon as it is known that the user may watch, also after a
// purchase. Event `join` with the same detail when the user asks to join. Parts: creator, prices, buy, join, failure.

import "../money/buy_tokens.js";
import "../base/sheet.js";
import { creatorCard, creatorStyles } from "../base/creator_card.js";
import { MoneyElement, html, nothing } from "../money/money_element.js";
import { TicketSale } from "./ticket_sale.js";

export class TicketDialog extends MoneyElement {
  static properties = {
    stream: {},
    open: { type: Boolean, reflect: true },
    isShopping: { state: true },
  };
  static styles = [...MoneyElement.styles, creatorStyles];

  #sale = new TicketSale(this, (access) => this.tell("access", access));

  begin(client) {
    super.begin(client);
    this.#sale.begin(client, this.account);
    this.#follow();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#sale.end();
  }

  show() {
    this.open = true;
  }

  close() {
    this.open = false;
  }

  updated(changed) {
    if (changed.has("open") || changed.has("stream")) this.#follow();
  }

  #follow() {
    if (this.open && this.stream) this.#sale.follow(this.stream);
    else this.#sale.leave();
  }

  render() {
    const { stream } = this.#sale;
    const title = this.isShopping ? this.t("buy.title") : (stream?.title ?? this.t("ticket.title"));
    return html`<hm-sheet label=${title} lang=${this.language} .open=${Boolean(this.open)} @dismiss=${this.#dismissed}>
      ${this.open ? this.#content() : nothing}
    </hm-sheet>`;
  }

  #content() {
    const { stream, access, error } = this.#sale;
    if (error && !access) return this.failure(error, () => this.#sale.load());
    if (!access) return this.skeleton(5);
    if (this.isShopping) return this.#shop();
    return html`<div class="stack">
      ${creatorCard(this, stream.creator, this.#sale.creator)} ${this.#state(stream)} ${this.#decision(access, stream)}
    </div>`;
  }

  #state({ status }) {
    if (status === "ended") return nothing;
    return html`<p class=${status === "live" ? "good" : "quiet-text"}>
      ${status === "live" ? this.t("ticket.live") : this.t("ticket.soon")}
    </p>`;
  }

  #decision({ hasAccess, reason }, stream) {
    if (stream.status === "ended" || reason === "stream_ended") return this.#refusal(this.t("ticket.over"));
    if (reason === "banned") return this.#refusal(this.t("ticket.banned"));
    return hasAccess ? this.#entrance(reason, stream) : this.#offer(stream);
  }

  #refusal(text) {
    return html`<p class="notice warn" role="status" tabindex="-1" data-focus>${text}</p>
      <button class="quiet" type="button" @click=${() => this.close()}>${this.t("ticket.close")}</button>`;
  }

  #entrance(reason, stream) {
    const isLive = stream.status === "live";
    return html`<div class="notice done" role="status" tabindex="-1" data-focus>
        <p>${this.#welcome(reason, isLive)}</p>
      </div>
      ${reason === "owner" || reason === "operator" ? nothing : this.#prices(stream, { withTicket: false })}
      ${
        isLive
          ? html`<button part="join" type="button" @click=${this.#join}>${this.t("ticket.join")}</button>`
          : html`<button class="quiet" type="button" @click=${() => this.close()}>${this.t("ticket.close")}</button>`
      }`;
  }

  #welcome(reason, isLive) {
    if (reason === "owner") return this.t("ticket.owner");
    if (this.#sale.isBought && isLive) return this.t("ticket.bought");
    if (reason === "public_stream") return this.t("ticket.free");
    if (reason === "metered") return this.t("ticket.metered");
    return isLive ? this.t("ticket.has") : this.t("ticket.early");
  }

  #offer(stream) {
    const { error, shortfall } = this.#sale;
    return html`${this.#prices(stream, { withTicket: true })}
      <p class="quiet-text small">${this.t("ticket.escrow")}</p>
      ${shortfall > 0 ? this.#short(stream, shortfall) : this.#purchase(stream)}
      ${error ? this.paymentFailure(error) : nothing}`;
  }

  #short({ ticketPriceTokens: required }, shortfall) {
    return html`<p class="notice warn tabular" role="status">
        ${this.t("ticket.short", { required, current: this.balance, shortfall })}
      </p>
      <button type="button" data-focus @click=${() => (this.isShopping = true)}>${this.t("ticket.top")}</button>`;
  }

  #purchase({ ticketPriceTokens: count }) {
    const { isBuying, error } = this.#sale;
    const text = error ? this.t("ticket.again") : this.t("ticket.buy", { count });
    return html`<button part="buy" type="button" aria-disabled=${isBuying} @click=${() => this.#sale.buy()}>
        ${isBuying ? this.t("ticket.buying") : text}
      </button>
      <p class="hidden-text" role="status">${isBuying ? this.t("ticket.buying") : nothing}</p>`;
  }

  #prices({ ticketPriceTokens, rateTokensPerMin, blockSeconds }, { withTicket }) {
    const { balance } = this;
    const price = withTicket ? (ticketPriceTokens ?? 0) : 0;
    const left = balance - price;
    if (!price && !rateTokensPerMin) return nothing;
    return html`<dl part="prices">
        ${price ? this.#row(this.t("ticket.price"), this.tokens(price)) : nothing}
        ${rateTokensPerMin ? this.#row(this.t("ticket.rate"), this.tokens(rateTokensPerMin)) : nothing}
        ${balance === undefined ? nothing : this.#row(this.t("ticket.balance"), this.tokens(balance))}
        ${price && left >= 0 ? this.#row(this.t("ticket.after"), this.tokens(left)) : nothing}
      </dl>
      ${rateTokensPerMin ? this.#meter(Math.floor(left / rateTokensPerMin), blockSeconds) : nothing}`;
  }

  #row(name, value) {
    return html`<dt>${name}</dt>
      <dd>${value}</dd>`;
  }

  #meter(minutes, seconds) {
    return html`<p class="quiet-text small tabular">
      ${this.t("ticket.block", { seconds })} ${minutes >= 0 ? this.t("ticket.lasts", { minutes }) : nothing}
    </p>`;
  }

  #shop() {
    return html`<div class="stack">
      <hm-buy-tokens .client=${this.client} lang=${this.language} needed=${this.#sale.shortfall}></hm-buy-tokens>
      <button class="quiet" type="button" data-focus @click=${() => (this.isShopping = false)}>
        ${this.t("ticket.back")}
      </button>
    </div>`;
  }

  #join() {
    this.tell("join", this.#sale.detail);
    this.close();
  }

  #dismissed() {
    this.isShopping = false;
    this.close();
  }
}

customElements.define("hm-ticket-dialog", TicketDialog);
