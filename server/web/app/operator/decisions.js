// <hm-operator-decisions>: what waits for an operator: payouts, purchases in review, payments and reversals.

import { moment, price } from "../../elements/base/words.js";
import { MoneyElement, html } from "../../elements/money/money_element.js";
import { sectionStyles } from "../section_styles.js";
import "./decision_list.js";
import { shortId, userLink } from "./links.js";
import { operatorStyles } from "./styles.js";

const SHOWN = 20;

export class OperatorDecisions extends MoneyElement {
  static styles = [...MoneyElement.styles, sectionStyles, operatorStyles];

  render() {
    if (!this.api) return this.skeleton();
    return html`<div class="stack">${this.#payouts()} ${this.#purchases()} ${this.#payments()} ${this.#reversals()}</div>`;
  }

  // The amount goes with the decision: a refund may have reduced the payout since it was shown.
  #payouts() {
    return html`<hm-decision-list
      heading=${this.t("operator.payouts")}
      empty=${this.t("operator.payouts.empty")}
      .read=${() => this.api.getAdminPayouts({ status: "requested", limit: SHOWN })}
      .idOf=${({ payoutId }) => payoutId}
      .show=${(payout) => this.#payout(payout)}
      .needsReason=${false}
      .choices=${{ paid: this.t("operator.payouts.paid"), rejected: this.t("operator.payouts.reject") }}
      .decide=${({ payoutId, amountCents }, status, { reason }) =>
        this.api.postAdminPayoutsPayoutId({
          payoutId,
          status,
          note: reason,
          ...(status === "paid" && { amountCents }),
        })}
    ></hm-decision-list>`;
  }

  #payout({ creatorId, tokens, amountCents, currency, createdAt }) {
    return this.#item(userLink(creatorId), createdAt, price(this.language, amountCents, currency), this.tokens(tokens));
  }

  #purchases() {
    return html`<hm-decision-list
      heading=${this.t("operator.purchases")}
      empty=${this.t("operator.purchases.empty")}
      .read=${() => this.api.getAdminPurchases({ status: "review", limit: SHOWN })}
      .idOf=${({ purchaseId }) => purchaseId}
      .show=${(purchase) => this.#purchase(purchase)}
      .choices=${this.#settlements()}
      .decide=${({ purchaseId }, action, { reason }, key) =>
        this.api.postAdminPurchasesPurchaseIdSettle({ purchaseId, action, reason }, { key })}
    ></hm-decision-list>`;
  }

  #purchase({ userId, tokens, priceCents, currency, createdAt }) {
    return this.#item(userLink(userId), createdAt, price(this.language, priceCents, currency), this.tokens(tokens));
  }

  #payments() {
    return html`<hm-decision-list
      heading=${this.t("operator.payments")}
      empty=${this.t("operator.payments.empty")}
      .read=${() => this.api.getAdminPayments({ status: "open", limit: SHOWN })}
      .idOf=${({ paymentId }) => paymentId}
      .show=${(payment) => this.#payment(payment)}
      .choices=${this.#settlements()}
      .decide=${({ paymentId }, action, { reason }, key) =>
        this.api.postAdminPaymentsPaymentIdSettle({ paymentId, action, reason }, { key })}
    ></hm-decision-list>`;
  }

  #payment({ userId, reference, amountCents, currency, problem, createdAt }) {
    const amount = amountCents === null ? "–" : price(this.language, amountCents, currency);
    const who = userId ? userLink(userId) : html`<bdi>${reference}</bdi>`;
    return this.#item(who, createdAt, amount, this.t(`operator.problem.${problem ?? "not_credited"}`));
  }

  #reversals() {
    return html`<hm-decision-list
      heading=${this.t("operator.reversals")}
      empty=${this.t("operator.reversals.empty")}
      .read=${() => this.api.getAdminReversals({ status: "open", limit: SHOWN })}
      .idOf=${({ reversalId }) => reversalId}
      .show=${(reversal) => this.#reversal(reversal)}
      .choices=${{ release: this.t("operator.reversals.release") }}
      .decide=${({ reversalId }, action, { reason }, key) =>
        this.api.postAdminReversalsReversalIdSettle({ reversalId, action, reason }, { key })}
    ></hm-decision-list>`;
  }

  #reversal({ userId, kind, providerId, amountCents, currency, createdAt }) {
    const who = userId ? userLink(userId) : html`<bdi>${shortId(providerId)}</bdi>`;
    const amount = price(this.language, amountCents, currency);
    return this.#item(who, createdAt, amount, this.t(`operator.reversal.${kind}`));
  }

  #settlements() {
    return { credit: this.t("operator.settle.credit"), reject: this.t("operator.settle.reject") };
  }

  #item(who, at, amount, detail) {
    return html`<span>${who}<br /><span class="small quiet-text">${moment(this.language, at)}</span></span>
      <span class="end tabular">${amount}<br /><span class="small quiet-text">${detail}</span></span>`;
  }
}

customElements.define("hm-operator-decisions", OperatorDecisions);
