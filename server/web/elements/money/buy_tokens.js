// <hm-buy-tokens needed>: the packs on offer, and the checkout of the chosen one in a window of its own.
//
// `needed`: tokens that are missing for something; the smallest pack with as many is chosen. A purchase that was begun
// less than half an hour ago, such as before the page was loaded again, is continued.
// Event `bought` with `purchaseId`, `tokens` and `balance` once the tokens are booked.
// Parts: pack, checkout, done, empty, failure, skeleton.

import { packStyles } from "./buy_tokens_styles.js";
import { Checkout } from "./checkout.js";
import { MoneyElement, html, nothing } from "./money_element.js";
import { regionView } from "../base/notice.js";
import { offerOf, saving } from "./packs.js";
import { percentage, price, pricePerToken } from "../base/words.js";

export class BuyTokens extends MoneyElement {
  static properties = {
    needed: { type: Number },
    packs: { state: true },
    packsError: { state: true },
    chosen: { state: true },
  };
  static styles = [...MoneyElement.styles, packStyles];

  #checkout = new Checkout(this, (purchase) => this.#bought(purchase));

  begin(client) {
    super.begin(client);
    this.#checkout.begin(client);
    this.#read();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#checkout.end();
  }

  render() {
    const { purchase } = this.#checkout;
    return html`<div class="stack">
      ${regionView(purchase ? this.#outcome(purchase) : nothing)} ${purchase ? this.#next(purchase) : this.#shop()}
    </div>`;
  }

  #outcome(purchase) {
    if (purchase.status === "paid") return this.#done(purchase);
    return purchase.status === "pending" ? this.#waiting(purchase) : this.#over(purchase);
  }

  #next({ status, checkoutUrl }) {
    if (status === "paid") return this.#back("buy.again");
    if (status !== "pending") return this.#back("buy.back");
    return html`${this.#checkout.error ? this.failure(this.#checkout.error) : nothing}
    ${
      checkoutUrl
        ? html`<a class="button" href=${checkoutUrl} target="_blank" rel="noopener">${this.t("buy.open")}</a>`
        : nothing
    }
    ${this.#back("buy.other")}`;
  }

  #back(text) {
    return html`<button class="quiet" type="button" @click=${() => this.#checkout.leave()}>${this.t(text)}</button>`;
  }

  #shop() {
    if (this.packsError) return this.failure(this.packsError, () => this.#read());
    if (!this.packs) return this.skeleton(4);
    if (this.packs.length === 0) return html`<p part="empty">${this.t("buy.empty")}</p>`;
    return html`<form class="stack" @submit=${this.#submit}>
      ${this.#balance()}
      <fieldset>
        <legend class="hidden-text">${this.t("buy.packs")}</legend>
        ${this.packs.map((pack) => this.#pack(pack))}
      </fieldset>
      ${this.#pay()} ${this.#checkout.error ? this.failure(this.#checkout.error) : nothing}
    </form>`;
  }

  #balance() {
    if (this.balance === undefined) return nothing;
    const isShort = this.needed > 0 && this.#checkout.purchase?.status !== "paid";
    const missing = isShort ? this.t("buy.needed", { count: this.needed }) : nothing;
    return html`<p class="tabular">${this.t("buy.balance", { count: this.balance })} ${missing}</p>`;
  }

  #pack(pack) {
    const { packId, tokens, priceCents, currency, costPerToken } = pack;
    const share = saving(pack, this.packs);
    return html`<label class="pack" part="pack">
      <input
        type="radio"
        name="pack"
        .checked=${pack === this.#offer}
        value=${packId}
        @change=${() => (this.chosen = packId)}
      />
      <span class="what">
        <strong>${this.tokens(tokens)}</strong>
        <span class="quiet-text small"
          >${this.t("buy.each", { price: pricePerToken(this.language, costPerToken, currency) })}</span
        >
      </span>
      <span class="cost">
        <strong>${price(this.language, priceCents, currency)}</strong>
        ${share > 0 ? html`<span class="good small">${this.#saving(share)}</span>` : nothing}
      </span>
    </label>`;
  }

  #saving(share) {
    return this.t("buy.saving", { percent: percentage(this.language, share) });
  }

  #pay() {
    const { priceCents, currency } = this.#offer;
    const text = this.#checkout.isOpening
      ? this.t("buy.opening")
      : this.t("buy.pay", { price: price(this.language, priceCents, currency) });
    return html`<button aria-disabled=${this.#checkout.isOpening}>${text}</button>
      <p class="quiet-text small">${this.t("buy.window")}</p>`;
  }

  #waiting({ tokens, priceCents, currency }) {
    return html`<div part="checkout">
      <h3 tabindex="-1" data-focus>
        ${this.t("buy.waiting", { count: tokens, price: price(this.language, priceCents, currency) })}
      </h3>
      <p class="quiet-text">${this.t("buy.notices")}</p>
    </div>`;
  }

  #done({ tokens }) {
    return html`<div class="notice done" part="done">
      <h3 tabindex="-1" data-focus>${this.t("buy.done", { count: tokens })}</h3>
      ${this.#balance()}
    </div>`;
  }

  #over({ status }) {
    return html`<p tabindex="-1" data-focus part="checkout" class="notice ${status === "review" ? "warn" : "bad"}">
      ${this.t(`buy.${status}`)}
    </p>`;
  }

  get #offer() {
    return offerOf(this.packs, this.chosen, this.needed);
  }

  async #read() {
    this.packsError = undefined;
    try {
      this.packs = (await this.api.getTokensPacks()).items;
    } catch (error) {
      this.packsError = error;
    }
  }

  #submit(event) {
    event.preventDefault();
    this.#checkout.open(this.#offer.packId, this.t("buy.opening"));
  }

  async #bought({ purchaseId, tokens }) {
    await this.account.read();
    this.tell("bought", { purchaseId, tokens, balance: this.balance });
  }
}

customElements.define("hm-buy-tokens", BuyTokens);
