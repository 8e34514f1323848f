// The base of the elements about money: the account, and how they show waits, failures and amounts.

import { accountOf } from "./account.js";
import { HalfminuteElement, html, nothing } from "../base/element.js";
import { explain, isUnsettled } from "../base/faults.js";
import { noticeStyles } from "../base/notice.js";
import { moneyStyles } from "./money_styles.js";
import { languageOf } from "../base/words.js";

export * from "../base/element.js";

export class MoneyElement extends HalfminuteElement {
  static styles = [HalfminuteElement.styles, noticeStyles, moneyStyles];

  begin(client) {
    this.api = client.rest;
    this.account = accountOf(client);
    this.account.add(this);
    this.requestUpdate(); // the account may be known already
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.account?.remove(this);
  }

  // An update may remove the focused button; then the focus goes to what has come in its place.
  update(changed) {
    const hadFocus = Boolean(this.shadowRoot?.activeElement);
    super.update(changed);
    if (hadFocus && !this.shadowRoot.activeElement) this.shadowRoot.querySelector("[data-focus]")?.focus();
  }

  get language() {
    return languageOf(this);
  }

  /** The present balance in tokens; undefined until it is known. */
  get balance() {
    return this.account?.wallet?.balance;
  }

  tokens(count) {
    return this.t(count === 1 || count === -1 ? "money.token" : "tokens", { count });
  }

  /** What went wrong, and a button to try again. */
  failure(error, retry) {
    return html`<div role="alert" part="failure" class="notice bad">
      <p>${explain(this, error)}</p>
      ${retry ? html`<button class="quiet" type="button" @click=${retry}>${this.t("retry")}</button>` : nothing}
    </div>`;
  }

  /** Like `failure`, of a payment: whether it was booked may be unknown, and a second try pays only once. */
  paymentFailure(error) {
    const unsettled = isUnsettled(error) ? html`<p>${this.t("money.unsettled")}</p>` : nothing;
    return html`<div role="alert" part="failure" class="notice bad">
      <p>${explain(this, error)}</p>
      ${unsettled}
    </div>`;
  }
}
