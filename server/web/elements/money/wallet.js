// <hm-wallet>: the balance and its parts, a way to buy tokens, the spend limit, purchases, and payouts of a creator.
//
// Event `bought` is that of <hm-buy-tokens>. Parts: card, balance, parts, frozen, failure, skeleton.

import "./buy_tokens.js";
import "./payouts.js";
import "./purchases.js";
import "../base/sheet.js";
import "./spend_limit.js";
import { MoneyElement, html, nothing } from "./money_element.js";

export class Wallet extends MoneyElement {
  static properties = { isBuying: { state: true }, opened: { state: true } };

  constructor() {
    super();
    this.opened = {};
  }

  render() {
    const { wallet, user, error } = this.account ?? {};
    if (!wallet) return error ? this.failure(error, () => this.account.read()) : this.skeleton(4);
    return html`<section class="stack" aria-label=${this.t("wallet.title")}>
      ${this.#card(wallet, user)} ${this.#limit(wallet)}
      ${this.#section("purchases", this.t("purchases.title"), () => this.#purchases())}
      ${user.isCreator ? this.#section("payouts", this.t("payouts.title"), () => this.#payouts()) : nothing}
      ${this.#sheet()}
    </section>`;
  }

  #purchases() {
    return html`<hm-purchases .client=${this.client} lang=${this.language}></hm-purchases>`;
  }

  #payouts() {
    return html`<hm-payouts .client=${this.client} lang=${this.language}></hm-payouts>`;
  }

  #sheet() {
    const close = () => (this.isBuying = false);
    return html`<hm-sheet label=${this.t("buy.title")} lang=${this.language} .open=${this.isBuying} @dismiss=${close}>
      ${this.isBuying ? html`<hm-buy-tokens .client=${this.client} lang=${this.language}></hm-buy-tokens>` : nothing}
    </hm-sheet>`;
  }

  #card(wallet, user) {
    return html`<div class="card stack" part="card">
      <div role="status" part="balance">
        <h2 class="quiet-text small">${this.t("wallet.balance")}</h2>
        <div class="figure">${this.tokens(wallet.balance)}</div>
      </div>
      ${wallet.frozen ? html`<p class="notice bad" part="frozen">${this.t("wallet.frozen")}</p>` : nothing}
      <dl part="parts">
        ${user.isCreator ? this.#creatorParts(wallet) : this.#fanParts(wallet)}
        ${this.#figure(this.t("wallet.spent"), wallet.lifetimeSpent)}
      </dl>
      <button type="button" @click=${() => (this.isBuying = true)}>${this.t("wallet.buy")}</button>
    </div>`;
  }

  #fanParts({ balance, promotional }) {
    return [
      this.#figure(this.t("wallet.bought"), balance - promotional),
      this.#figure(this.t("wallet.promotional"), promotional),
    ];
  }

  #creatorParts({ promotional, cashable, held, owed, lifetimeEarned }) {
    return [
      this.#figure(this.t("wallet.cashable"), cashable),
      held > 0 ? this.#figure(this.t("wallet.held"), held) : nothing,
      owed > 0 ? this.#figure(this.t("wallet.owed"), owed) : nothing,
      this.#figure(this.t("wallet.promotional"), promotional),
      this.#figure(this.t("wallet.earned"), lifetimeEarned),
    ];
  }

  #figure(name, tokens) {
    return html`<dt>${name}</dt>
      <dd>${new Intl.NumberFormat(this.language).format(tokens)}</dd>`;
  }

  #limit({ limits }) {
    const { dailySpendLimit: limit, spent } = limits;
    const title = limit == null ? this.t("limit.off") : this.t("limit.on", { spent, limit });
    return this.#section(
      "limit",
      title,
      () => html`<hm-spend-limit .client=${this.client} lang=${this.language}></hm-spend-limit>`,
    );
  }

  // Its content is read once it is opened.
  #section(name, title, content) {
    const toggle = (event) => (this.opened = { ...this.opened, [name]: event.target.open });
    return html`<details @toggle=${toggle}>
      <summary>${title}</summary>
      ${this.opened[name] ? content() : nothing}
    </details>`;
  }
}

customElements.define("hm-wallet", Wallet);
