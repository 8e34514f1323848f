// <hm-operator-actions>: what operators did, newest first: who, to whom, why.

import { listView } from "../../elements/base/list_view.js";
import { PagedList } from "../../elements/base/paged_list.js";
import { moment } from "../../elements/base/words.js";
import { MoneyElement, html, nothing } from "../../elements/money/money_element.js";
import { sectionStyles } from "../section_styles.js";
import { shortId, userLink } from "./links.js";
import { operatorStyles } from "./styles.js";

const ACTIONS = [
  "credit",
  "refund",
  "ban",
  "lift_ban",
  "pay_payout",
  "reject_payout",
  "credit_purchase",
  "reject_payment",
  "release_reversal",
  "unfreeze",
];
const OF_USERS = ["credit", "refund", "ban", "lift_ban", "unfreeze"]; // actions whose target is a user

export class OperatorActions extends MoneyElement {
  static properties = { action: { state: true } };
  static styles = [...MoneyElement.styles, sectionStyles, operatorStyles];

  #list = new PagedList(
    this,
    ({ actionId }) => actionId,
    () => this.api.getAdminActions({ limit: 20, ...(this.action && { action: this.action }) }),
  );

  begin(client) {
    super.begin(client);
    this.#list.load();
  }

  render() {
    return html`<section class="stack">
      <h2 class="hidden-text">${this.t("operator.actions")}</h2>
      <label>
        ${this.t("operator.actions.filter")}
        <select @change=${({ target }) => this.#filter(target.value)}>
          <option value="">${this.t("operator.actions.all")}</option>
          ${ACTIONS.map((action) => html`<option value=${action}>${this.t(`operator.action.${action}`)}</option>`)}
        </select>
      </label>
      ${listView(this, this.#list, this.t("operator.actions.empty"), (items) => this.#items(items))}
    </section>`;
  }

  #items(items) {
    return html`<ul class="list">
      ${items.map((action) => html`<li>${this.#action(action)}</li>`)}
    </ul>`;
  }

  #action({ action, operatorId, targetId, tokens, reason, at }) {
    const isOfUser = OF_USERS.includes(action) && targetId;
    const target = isOfUser ? userLink(targetId) : targetId ? shortId(targetId) : nothing;
    return html`<span>
        <strong>${this.t(`operator.action.${action}`)}</strong> ${target}<br />
        <bdi class="small">${reason}</bdi>
      </span>
      <span class="end small tabular">
        ${tokens === null ? nothing : html`${this.tokens(tokens)}<br />`}
        <span class="quiet-text">
          ${moment(this.language, at)}<br />
          ${this.t("operator.report.by")} ${operatorId ? userLink(operatorId) : "–"}
        </span>
      </span>`;
  }

  #filter(action) {
    this.action = action;
    this.#list.load();
  }
}

customElements.define("hm-operator-actions", OperatorActions);
