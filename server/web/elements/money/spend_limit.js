// <hm-spend-limit>: the user's own limit of tokens a day, how much of it is spent, and a form that changes it.
//
// Event `limited` with `dailySpendLimit` once a change is stored. Parts: failure, skeleton, coming.

import { MoneyElement, html, nothing } from "./money_element.js";
import { moment } from "../base/words.js";

export class SpendLimit extends MoneyElement {
  static properties = { error: { state: true }, isSaving: { state: true }, isSaved: { state: true } };

  render() {
    const limits = this.account?.wallet?.limits;
    if (!limits)
      return this.account?.error ? this.failure(this.account.error, () => this.account.read()) : this.skeleton(2);
    return html`<form class="stack" @submit=${this.#submit}>
      <p class="quiet-text small">${this.t("limit.rule")}</p>
      ${this.#present(limits)} ${this.#coming(limits)}
      <label>
        ${this.t("limit.tokens")}
        <input
          name="tokens"
          type="number"
          inputmode="numeric"
          min="0"
          step="1"
          required
          .value=${limits.dailySpendLimit ?? ""}
        />
      </label>
      <div class="row">
        <button aria-disabled=${Boolean(this.isSaving)}>${this.t("limit.save")}</button>
        ${
          limits.dailySpendLimit == null
            ? nothing
            : html`<button
                class="quiet"
                type="button"
                aria-disabled=${Boolean(this.isSaving)}
                @click=${() => this.#save(null)}
              >
                ${this.t("limit.remove")}
              </button>`
        }
      </div>
      <p role="status" class="good">${this.isSaved ? this.t("limit.saved") : nothing}</p>
      ${this.error ? this.failure(this.error) : nothing}
    </form>`;
  }

  #present({ dailySpendLimit: limit, spent, resetsAt }) {
    if (limit == null) return nothing;
    const at = moment(this.language, resetsAt);
    return html`<p class="tabular">
      ${this.t("limit.present", { spent, limit, left: Math.max(0, limit - spent), at })}
    </p>`;
  }

  #coming({ next }) {
    if (!next) return nothing;
    const at = moment(this.language, next.at);
    const limit = next.dailySpendLimit;
    const text = limit == null ? this.t("limit.ends", { at }) : this.t("limit.rises", { limit, at });
    return html`<p class="notice warn" part="coming">${text}</p>`;
  }

  #submit(event) {
    event.preventDefault();
    this.#save(event.target.elements.tokens.valueAsNumber);
  }

  async #save(dailySpendLimit) {
    if (this.isSaving) return;
    this.isSaving = true;
    this.error = undefined;
    this.isSaved = false;
    try {
      await this.api.putWalletLimits({ dailySpendLimit });
      await this.account.read();
      this.isSaved = true;
      this.tell("limited", { dailySpendLimit });
    } catch (error) {
      this.error = error;
    }
    this.isSaving = false;
  }
}

customElements.define("hm-spend-limit", SpendLimit);
