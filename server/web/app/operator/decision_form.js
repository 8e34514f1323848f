// <hm-decision-form>: a decision of an operator with its reason, sent once, also if its button is pressed twice.
//
// Properties: `choices` are the texts of the buttons by choice; `fields` are inputs beside the reason, each `{name,
// label, type, required, min, max}`; `needsReason` (default true) says whether the reason may be empty; `decide(choice,
// values, key)` sends the decision under an idempotency key. Fires `decided` with its answer once it is stored, and
// `cancel`. After LOSSES_LIMIT the choice `confirm` is offered as well.

import { MoneyElement, html, nothing } from "../../elements/money/money_element.js";
import { PaymentKey } from "../../elements/money/payment_key.js";
import { sectionStyles } from "../section_styles.js";

const REASON_MAX = 500; // characters, as the API takes them

export class DecisionForm extends MoneyElement {
  static properties = {
    choices: { attribute: false },
    fields: { attribute: false },
    needsReason: { attribute: false },
    decide: { attribute: false },
    isSending: { state: true },
    error: { state: true },
  };
  static styles = [...MoneyElement.styles, sectionStyles];

  #key = new PaymentKey();

  constructor() {
    super();
    this.fields = [];
    this.needsReason = true;
  }

  render() {
    return html`<form class="stack" @submit=${this.#submit}>
      ${this.fields.map((field) => this.#field(field))}
      <label>
        ${this.t("operator.reason")}
        <textarea name="reason" rows="2" maxlength=${REASON_MAX} ?required=${this.needsReason}></textarea>
      </label>
      <div class="row">
        ${Object.entries(this.choices).map(([choice, text]) => this.#button(choice, text))}
        <button type="button" class="quiet" @click=${() => this.tell("cancel")}>${this.t("operator.cancel")}</button>
        <span class="small" role="status">${this.isSending ? this.t("operator.sending") : nothing}</span>
      </div>
      ${this.error ? this.#failure() : nothing}
    </form>`;
  }

  #field({ name, label, type = "text", ...limits }) {
    const { required = false, min, max } = limits;
    return html`<label>
      ${label}
      <input
        name=${name}
        type=${type}
        ?required=${required}
        min=${min ?? nothing}
        max=${max ?? nothing}
        autocomplete="off"
      />
    </label>`;
  }

  #button(choice, text) {
    return html`<button name="choice" value=${choice} aria-disabled=${Boolean(this.isSending)}>${text}</button>`;
  }

  #failure() {
    const mayConfirm = this.error.code === "LOSSES_LIMIT";
    return html`${this.paymentFailure(this.error)}
    ${mayConfirm ? html`<div class="row">${this.#button("confirm", this.t("operator.confirm"))}</div>` : nothing}`;
  }

  async #submit(event) {
    event.preventDefault();
    if (this.isSending) return;
    const form = event.target;
    const choice = event.submitter?.value ?? Object.keys(this.choices)[0];
    const values = Object.fromEntries(new FormData(form));
    this.isSending = true;
    this.error = undefined;
    try {
      const answer = await this.#key.use([choice, values], (key) => this.decide(choice, values, key));
      form.reset();
      this.tell("decided", answer);
    } catch (error) {
      this.error = error;
    }
    this.isSending = false;
  }
}

customElements.define("hm-decision-form", DecisionForm);
