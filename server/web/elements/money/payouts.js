// <hm-payouts>: what a creator may cash out and on which terms, a form that requests a payout, and past payouts.
//
// Event `payout` with the payout once it is booked. Parts: terms, list, failure, skeleton.

import { listView } from "../base/list_view.js";
import { MoneyElement, html, nothing } from "./money_element.js";
import { PagedList } from "../base/paged_list.js";
import { PaymentKey } from "./payment_key.js";
import { moment, price } from "../base/words.js";

export class Payouts extends MoneyElement {
  static properties = {
    terms: { state: true },
    termsError: { state: true },
    amount: { state: true },
    error: { state: true },
    isSending: { state: true },
    booked: { state: true },
  };

  #key = new PaymentKey();
  #balance;
  #list = new PagedList(
    this,
    (payout) => payout.payoutId,
    () => this.api.getPayouts({ limit: 10 }),
  );

  begin(client) {
    super.begin(client);
    this.#list.load();
    this.#readTerms();
  }

  willUpdate() {
    if (this.#balance !== undefined && this.balance !== this.#balance) {
      this.#readTerms();
      this.#list.refresh();
    }
    this.#balance = this.balance;
  }

  render() {
    return html`<div class="stack">
      ${this.#request()} ${listView(this, this.#list, this.t("payouts.empty"), (items) => this.#items(items))}
    </div>`;
  }

  #request() {
    if (this.termsError) return this.failure(this.termsError, () => this.#readTerms());
    if (!this.terms) return this.skeleton(2);
    const { cashableTokens, minTokens } = this.terms;
    return html`${this.#explanation()} ${cashableTokens < minTokens ? this.#few() : this.#form()}
    ${this.booked ? this.#booked() : nothing}`;
  }

  #few() {
    const { cashableTokens, minTokens: min } = this.terms;
    return html`<p class="notice">${this.t("payouts.few", { min, missing: min - cashableTokens })}</p>`;
  }

  #booked() {
    return html`<p role="status" tabindex="-1" data-focus class="notice done">
      ${this.t("payouts.booked", { amount: this.#money(this.booked.amountCents) })}
    </p>`;
  }

  #explanation() {
    const { cashableTokens, heldTokens, centsPerToken, currency, holdingDays } = this.terms;
    return html`<div part="terms">
      <p class="tabular">
        ${this.t("payouts.cashable", { count: cashableTokens, amount: this.#money(cashableTokens * centsPerToken) })}
      </p>
      <p class="quiet-text small tabular">
        ${this.t("payouts.rate", { value: price(this.language, centsPerToken, currency) })}
        ${holdingDays > 0 ? this.t("payouts.holding", { days: holdingDays, count: heldTokens }) : nothing}
      </p>
    </div>`;
  }

  #form() {
    const { cashableTokens, minTokens, centsPerToken } = this.terms;
    const amount = this.amount ?? cashableTokens;
    const money = this.#money(amount * centsPerToken);
    return html`<form class="stack" @submit=${this.#submit}>
      <label>
        ${this.t("payouts.tokens")}
        <input
          type="number"
          inputmode="numeric"
          required
          step="1"
          min=${minTokens}
          max=${cashableTokens}
          .value=${`${amount}`}
          @input=${(event) => (this.amount = event.target.valueAsNumber || 0)}
        />
      </label>
      <button aria-disabled=${Boolean(this.isSending)}>
        ${this.isSending ? this.t("payouts.sending") : this.t("payouts.send", { amount: money })}
      </button>
      ${this.error ? this.paymentFailure(this.error) : nothing}
    </form>`;
  }

  #items(items) {
    return html`<ul class="list" part="list">
      ${items.map((payout) => this.#item(payout))}
    </ul>`;
  }

  #item({ status, tokens, returnedTokens, amountCents, currency, note, createdAt }) {
    const returned = returnedTokens > 0 && this.t("payouts.returned", { count: returnedTokens });
    return html`<li>
      <span class="tabular">${this.tokens(tokens)}</span>
      <span class="end tabular">${price(this.language, amountCents, currency)}</span>
      <time class="quiet-text small" datetime=${createdAt}>${moment(this.language, createdAt)}</time>
      <span class="end small">${this.t(`payouts.${status}`)}</span>
      ${returned ? html`<span class="small">${returned}</span>` : nothing}
      ${note ? html`<span class="small quiet-text">${note}</span>` : nothing}
    </li>`;
  }

  #money(cents) {
    return price(this.language, cents, this.terms.currency);
  }

  async #readTerms() {
    try {
      this.terms = await this.api.getPayoutsTerms();
      this.termsError = undefined;
    } catch (error) {
      this.termsError = error;
    }
  }

  async #submit(event) {
    event.preventDefault();
    if (this.isSending) return;
    this.isSending = true;
    this.error = this.booked = undefined;
    const wanted = { tokens: this.amount ?? this.terms.cashableTokens };
    try {
      this.booked = await this.#key.use(wanted, (key) => this.api.postPayouts(wanted, { key }));
      this.amount = undefined;
      this.tell("payout", this.booked);
      await Promise.all([this.account.read(), this.#list.refresh()]);
    } catch (error) {
      this.error = error;
    }
    this.isSending = false;
  }
}

customElements.define("hm-payouts", Payouts);
