// <hm-ledger>: the statement of the wallet, filtered by kind and period. New entries appear by themselves.
//
// Properties `kind`, `from` and `to` (days, such as 2026-11-30) are the filter, and are attributes as well.
// Parts: filter, table, empty, failure, skeleton.

import { CreatorNames } from "../base/creator_names.js";
import { listView } from "../base/list_view.js";
import { ledgerStyles } from "./ledger_styles.js";
import { MoneyElement, html, nothing } from "./money_element.js";
import { PagedList } from "../base/paged_list.js";
import { moment } from "../base/words.js";

const KINDS = ["block", "tip", "ticket", "purchase", "credit", "refund", "payout", "release", "repayment"];
const SHOWN = 20;
const USER_ID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;

export class Ledger extends MoneyElement {
  static properties = { kind: {}, from: {}, to: {} };
  static styles = [...MoneyElement.styles, ledgerStyles];

  #list = new PagedList(
    this,
    (entry) => entry.n,
    () => this.api.getWalletLedger(this.#filter()),
  );
  #names = new CreatorNames(this);
  #balance;

  begin(client) {
    super.begin(client);
    this.#names.begin(client);
    this.#list.load();
  }

  willUpdate(changed) {
    const isFiltered = ["kind", "from", "to"].some((name) => changed.has(name));
    if (!this.api) return;
    if (isFiltered) this.#list.load();
    // The balance is known first by an event, or by the account's first read, which finds nothing new here.
    else if (this.#balance !== undefined && this.balance !== this.#balance) this.#list.refresh();
    this.#balance = this.balance;
  }

  render() {
    return html`<section class="stack" aria-label=${this.t("ledger.title")}>
      <h2>${this.t("ledger.title")}</h2>
      ${this.#filterForm()} ${listView(this, this.#list, this.#empty(), (items) => this.#table(items))}
    </section>`;
  }

  #filterForm() {
    return html`<div class="filter" part="filter" role="group" aria-label=${this.t("ledger.filter")}>
      <label class="kind">
        ${this.t("ledger.kind")}
        <select .value=${this.kind ?? ""} @change=${(event) => (this.kind = event.target.value)}>
          <option value="">${this.t("ledger.all")}</option>
          ${KINDS.map((kind) => this.#option(kind))}
        </select>
      </label>
      ${this.#dayField("from", this.t("ledger.from"))} ${this.#dayField("to", this.t("ledger.to"))}
    </div>`;
  }

  #option(kind) {
    return html`<option value=${kind} ?selected=${kind === this.kind}>${this.#kindText(kind)}</option>`;
  }

  #dayField(name, label) {
    const change = (event) => (this[name] = event.target.value);
    return html`<label>${label}<input type="date" .value=${this[name] ?? ""} @change=${change} /></label>`;
  }

  #table(items) {
    return html`<table part="table">
      <thead>
        <tr>
          <th scope="col">${this.t("ledger.entry")}</th>
          <th scope="col" class="end">${this.t("ledger.tokens")}</th>
          <th scope="col" class="end">${this.t("ledger.after")}</th>
        </tr>
      </thead>
      <tbody>
        ${items.map((entry) => this.#row(entry))}
      </tbody>
    </table>`;
  }

  #row(entry) {
    const { kind, side, tokens, balanceAfter, at, memo, blockNo } = entry;
    const name = this.#nameOf(entry);
    const number = blockNo ? ` · ${this.t("ledger.block", { number: blockNo })}` : "";
    return html`<tr>
      <td>
        <div>${this.#kindText(kind, side)}${number}</div>
        ${name ? html`<div class="small name" dir="auto">${name}</div>` : nothing}
        <time class="quiet-text small" datetime=${at}>${moment(this.language, at)}</time>
        ${memo ? html`<div class="small memo">${memo}</div>` : nothing}
      </td>
      <td class="end ${tokens > 0 ? "good" : ""}">${this.#signed(tokens)}</td>
      <td class="end quiet-text">${new Intl.NumberFormat(this.language).format(balanceAfter)}</td>
    </tr>`;
  }

  // Other counterparties are system wallets, or fans, whose names cannot be read by id.
  #nameOf({ kind, side, counterparty }) {
    const isOfCreator = side === "debit" ? ["block", "tip"].includes(kind) : kind === "refund";
    return isOfCreator && USER_ID.test(counterparty) ? this.#names.of(counterparty) : "";
  }

  #signed(tokens) {
    return new Intl.NumberFormat(this.language, { signDisplay: "exceptZero" }).format(tokens);
  }

  #kindText(kind, side = "") {
    const name = `ledger.kind.${kind}`;
    return this.t(["block", "tip", "ticket"].includes(kind) && side === "credit" ? `${name}.in` : name);
  }

  #empty() {
    return this.kind || this.from || this.to ? this.t("ledger.none") : this.t("ledger.empty");
  }

  #filter() {
    const { kind, from, to } = this;
    const filter = { limit: SHOWN };
    if (kind) filter.kind = kind;
    if (from) filter.from = startOf(from).toISOString();
    if (to) filter.to = startOf(to, 1).toISOString(); // the server excludes the end
    return filter;
  }
}

/** The first moment of a day in the reader's time zone, or of one some days later. */
function startOf(day, later = 0) {
  const [year, month, date] = day.split("-").map(Number);
  return new Date(year, month - 1, date + later);
}

customElements.define("hm-ledger", Ledger);
