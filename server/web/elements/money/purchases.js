// <hm-purchases>: the purchases of tokens, newest first; an open one leads back to its checkout.

import { listView } from "../base/list_view.js";
import { MoneyElement, html, nothing } from "./money_element.js";
import { PagedList } from "../base/paged_list.js";
import { moment, price } from "../base/words.js";

export class Purchases extends MoneyElement {
  #list = new PagedList(
    this,
    (purchase) => purchase.purchaseId,
    () => this.api.getTokensPurchases({ limit: 10 }),
  );
  #balance;

  begin(client) {
    super.begin(client);
    this.#list.load();
  }

  willUpdate() {
    if (this.#balance !== undefined && this.balance !== this.#balance) this.#list.refresh();
    this.#balance = this.balance;
  }

  render() {
    return listView(this, this.#list, this.t("purchases.empty"), (items) => this.#items(items));
  }

  #items(items) {
    return html`<ul class="list" part="list">
      ${items.map((purchase) => this.#item(purchase))}
    </ul>`;
  }

  #item({ status, tokens, priceCents, currency, createdAt, checkoutUrl }) {
    const isOpen = status === "pending" && checkoutUrl;
    return html`<li>
      <span class="tabular">${this.tokens(tokens)}</span>
      <span class="end tabular">${price(this.language, priceCents, currency)}</span>
      <time class="quiet-text small" datetime=${createdAt}>${moment(this.language, createdAt)}</time>
      <span class="end small">${this.t(`purchases.${status}`)}</span>
      ${isOpen ? html`<a href=${checkoutUrl} target="_blank" rel="noopener">${this.t("purchases.pay")}</a>` : nothing}
    </li>`;
  }
}

customElements.define("hm-purchases", Purchases);
