// <hm-report-button user-id name room-id>: a button that opens a sheet, in which a user is reported to the operators; a
// creator may block them as well.
//
// `name` is that of the user, `room-id` the call or stream. Event `reported` with `userId`. Parts: button, failure.

import "../base/sheet.js";
import { MoneyElement, css, html, nothing } from "../money/money_element.js";

const REASON_MAX = 1000; // characters, as the API takes them

export class ReportButton extends MoneyElement {
  static properties = {
    userId: { attribute: "user-id" },
    roomId: { attribute: "room-id" },
    name: {},
    isOpen: { state: true },
    isSending: { state: true },
    isDone: { state: true },
    error: { state: true },
  };
  static styles = [
    ...MoneyElement.styles,
    css`
      [part="button"] {
        max-width: 100%;
        padding: 0;
        border: 0;
        color: var(--hm-quiet, #565e6c);
        font-size: 0.9375rem;
        font-weight: 400;
        overflow-wrap: anywhere;
        text-align: start;
        text-decoration: underline;
      }
      .check {
        display: flex;
        gap: 0.75rem;
        align-items: center;
        min-height: 2.75rem;
      }
      .check input:not([type="radio"]) {
        flex: none;
        width: 1.5rem;
        min-height: 1.5rem;
        accent-color: var(--hm-accent, #4a3fd6);
      }
    `,
  ];

  render() {
    return html`<button class="quiet" part="button" type="button" @click=${this.#open}>
        ${this.t("report.button", { name: this.name })}
      </button>
      ${this.isOpen ? this.#sheet() : nothing}`;
  }

  #sheet() {
    return html`<hm-sheet
      open
      label=${this.t("report.button", { name: this.name })}
      @dismiss=${() => (this.isOpen = false)}
      >${this.#content()}</hm-sheet
    >`;
  }

  #content() {
    if (this.isDone) return html`<p role="status" tabindex="-1" data-focus>${this.t("report.done")}</p>`;
    return html`<form class="stack" @submit=${this.#submit}>
      <label>
        ${this.t("report.reason")}
        <textarea name="reason" rows="4" maxlength=${REASON_MAX} required></textarea>
      </label>
      ${this.account?.user?.isCreator ? this.#blockChoice() : nothing}
      <button aria-disabled=${Boolean(this.isSending)}>
        ${this.t(this.isSending ? "report.sending" : "report.send")}
      </button>
      ${this.error ? this.failure(this.error) : nothing}
    </form>`;
  }

  #blockChoice() {
    return html`<label class="check">
      <input type="checkbox" name="block" />
      <span>${this.t("report.block", { name: this.name })}</span>
    </label>`;
  }

  #open() {
    this.isOpen = true;
    this.isDone = false;
    this.error = undefined;
  }

  // An equal report within a day is the first one, so a second try after a lost answer reports once.
  async #submit(event) {
    event.preventDefault();
    if (this.isSending) return;
    const { reason, block } = event.target.elements;
    const { userId, roomId } = this;
    this.isSending = true;
    this.error = undefined;
    try {
      await this.api.postReports({ userId, reason: reason.value, ...(roomId && { roomId }) });
      if (block?.checked) await this.api.putCreatorsMeBlocksUserId({ userId });
      this.isDone = true;
      this.tell("reported", { userId });
    } catch (error) {
      this.error = error;
    }
    this.isSending = false;
  }
}

customElements.define("hm-report-button", ReportButton);
