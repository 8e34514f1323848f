// <hm-tip-button to-creator-id stream-id call-id channel presets="10 50 100 500">: a button that opens a sheet, in it
// the amount, a message and what the tip costs. The slot is the button's text.
//
// The room is named by `stream-id`, `call-id` or `channel`; without one, the tip is private. A tip is shown as pending
// until it is booked. If its outcome is unknown, it can only be tried again under its key, which pays once.
// Event `tipped` with `tipId`, `toCreatorId`, `amountTokens`, `message`, `channel` and `balance` once it is booked.
// Parts: button, preset, send, failure.

import "../money/buy_tokens.js";
import "../base/sheet.js";
import { isUnsettled } from "../base/faults.js";
import { MoneyElement, html, nothing } from "../money/money_element.js";
import { PaymentKey } from "../money/payment_key.js";
import { tipStyles } from "./tip_button_styles.js";

const PRESETS = "10 50 100 500";
const TOKENS_MAX = 1_000_000_000; // of one posting
const LETTERS_MAX = 500; // of a message: as many as fit on a screen

export class TipButton extends MoneyElement {
  static properties = {
    toCreatorId: { attribute: "to-creator-id" },
    streamId: { attribute: "stream-id" },
    callId: { attribute: "call-id" },
    channel: {},
    presets: {},
    view: { state: true }, // "closed", "form", "shop" or "sent"
    amount: { state: true },
    message: { state: true },
    isSending: { state: true },
    error: { state: true },
    sent: { state: true },
  };
  static styles = [...MoneyElement.styles, tipStyles];

  #key = new PaymentKey();
  #after; // the balance after the tip that is being sent, while events change the balance

  constructor() {
    super();
    this.presets = PRESETS;
    this.view = "closed";
    this.message = "";
  }

  render() {
    return html`<button
        part="button"
        type="button"
        aria-haspopup="dialog"
        aria-busy=${Boolean(this.isSending)}
        @click=${() => (this.view = "form")}
      >
        <slot>${this.t("tip.open")}</slot>
      </button>
      <hm-sheet
        label=${this.view === "shop" ? this.t("buy.title") : this.t("tip.title")}
        lang=${this.language}
        .open=${this.view !== "closed"}
        @dismiss=${() => (this.view = "closed")}
      >
        ${this.#content()}
      </hm-sheet>`;
  }

  #content() {
    if (this.view === "closed") return nothing;
    if (this.view === "shop") return this.#shop();
    return this.view === "sent" ? this.#receipt() : this.#form();
  }

  #form() {
    return html`<form class="stack" novalidate @submit=${this.#submit}>
      <fieldset class="stack" ?disabled=${this.#isFixed}>
        <legend class="hidden-text">${this.t("tip.amounts")}</legend>
        <div class="presets">${this.#amounts.map((tokens) => this.#preset(tokens))}</div>
        ${this.#ownAmount()} ${this.#messageField()}
      </fieldset>
      ${this.#outcome()} ${this.#actions()}
    </form>`;
  }

  #preset(tokens) {
    return html`<label class="preset" part="preset">
      <input
        class="hidden-text"
        type="radio"
        name="preset"
        .checked=${this.#tokens === tokens}
        @change=${() => (this.amount = tokens)}
      />
      ${this.tokens(tokens)}
    </label>`;
  }

  #ownAmount() {
    return html`<label>
      ${this.t("tip.own")}
      <input
        type="number"
        inputmode="numeric"
        min="1"
        max=${TOKENS_MAX}
        step="1"
        .value=${Number.isNaN(this.#tokens) ? "" : `${this.#tokens}`}
        @input=${(event) => (this.amount = event.target.valueAsNumber)}
      />
    </label>`;
  }

  #messageField() {
    return html`<label>
      ${this.t("tip.message")}
      <textarea
        rows="2"
        maxlength=${LETTERS_MAX}
        .value=${this.message}
        @input=${(event) => (this.message = event.target.value)}
      ></textarea>
    </label>`;
  }

  // What the tip costs and leaves, or why it was not sent.
  #outcome() {
    if (this.error) return this.paymentFailure(this.error);
    if (this.#isValid && this.balance === undefined) return this.skeleton(1);
    const [look, text] = this.#forecast();
    return html`<p role="status" class=${look}>${text}</p>`;
  }

  #forecast() {
    const { balance: count } = this;
    if (!this.#isValid) return ["notice warn", this.t("tip.amount", { most: TOKENS_MAX })];
    if (this.isSending) return ["tabular", this.t("tip.pending", { after: this.#after })];
    if (this.#isShort) return ["tabular notice warn", this.t("tip.short", { count, missing: this.#missing })];
    return ["tabular quiet-text", this.t("tip.balance", { count, after: count - this.#tokens })];
  }

  #actions() {
    if (this.#isShort && !this.#isFixed) {
      return html`<button type="button" data-focus @click=${() => (this.view = "shop")}>${this.t("tip.buy")}</button>`;
    }
    const isUnknown = this.#isFixed && !this.isSending;
    return html`<button part="send" aria-disabled=${this.isSending || !this.#isValid}>${this.#sendText()}</button>
      ${
        isUnknown
          ? html`<button class="quiet" type="button" @click=${this.#drop}>${this.t("tip.drop")}</button>`
          : nothing
      }`;
  }

  #sendText() {
    const count = this.#tokens;
    if (this.isSending) return this.t("tip.sending", { count });
    if (this.#isFixed) return this.t("tip.again");
    return this.#isValid ? this.t("tip.send", { count }) : this.t("tip.title");
  }

  #shop() {
    return html`<div class="stack">
      <hm-buy-tokens .client=${this.client} lang=${this.language} needed=${this.#missing}></hm-buy-tokens>
      <button class="quiet" type="button" data-focus @click=${this.#backFromShop}>${this.t("tip.back")}</button>
    </div>`;
  }

  #receipt() {
    const { tip, wallet } = this.sent;
    return html`<div class="stack">
      <div role="status" class="notice done" tabindex="-1" data-focus>
        <h3>${this.t("tip.sent", { count: tip.amountTokens })}</h3>
        <p class="tabular">${this.t("tip.left", { count: wallet.balance })}</p>
      </div>
      <button type="button" @click=${() => (this.view = "closed")}>${this.t("tip.close")}</button>
      <button class="quiet" type="button" @click=${() => (this.view = "form")}>${this.t("tip.another")}</button>
    </div>`;
  }

  get #amounts() {
    return this.presets.split(/\D+/).map(Number).filter(Boolean);
  }

  get #tokens() {
    return this.amount ?? this.#amounts[0] ?? NaN;
  }

  get #isValid() {
    return Number.isInteger(this.#tokens) && this.#tokens >= 1 && this.#tokens <= TOKENS_MAX;
  }

  get #missing() {
    return Math.max(0, this.#tokens - (this.balance ?? 0));
  }

  get #isShort() {
    return this.#isValid && this.balance !== undefined && this.#missing > 0;
  }

  // While it is unknown whether the tip was booked, only the same one can be sent.
  get #isFixed() {
    return Boolean(this.isSending || (this.error && isUnsettled(this.error)));
  }

  #submit(event) {
    event.preventDefault();
    if (!this.isSending && this.#isValid && (this.#isFixed || !this.#isShort)) this.#send();
  }

  async #send() {
    const wanted = this.#wanted();
    this.#after ??= this.balance - this.#tokens;
    this.isSending = true;
    this.error = undefined;
    try {
      this.sent = await this.#key.use(wanted, (key) => this.api.postTipsSend(wanted, { key }));
      this.#booked();
    } catch (error) {
      this.error = error;
      if (error.code === "INSUFFICIENT_TOKENS") await this.#readBalance();
    }
    this.isSending = false;
    if (!this.#isFixed) this.#after = undefined;
  }

  #wanted() {
    const { toCreatorId, streamId, callId, channel } = this;
    const isInRoom = streamId || callId || channel;
    return {
      toCreatorId,
      amountTokens: this.#tokens,
      message: this.message.trim() || undefined,
      context: isInRoom ? { streamId, callId, channel } : undefined,
    };
  }

  #booked() {
    const { tip, wallet } = this.sent;
    if (this.view !== "closed") this.view = "sent";
    this.message = "";
    this.tell("tipped", { ...tip, balance: wallet.balance });
    this.account.read();
  }

  // The balance was less than this page knew: with the present one, the form leads to the packs.
  async #readBalance() {
    await this.account.read();
    if (this.#isShort) this.error = undefined;
  }

  #drop() {
    this.#key.forget();
    this.#after = undefined;
    this.error = undefined;
  }

  #backFromShop() {
    this.error = undefined;
    this.view = "form";
  }
}

customElements.define("hm-tip-button", TipButton);
