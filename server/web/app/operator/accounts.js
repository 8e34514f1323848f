// <hm-operator-accounts>: the proof of the ledger, the balances of all wallets, and sales and spending by day.

import { price } from "../../elements/base/words.js";
import { Reading } from "../../elements/base/reading.js";
import { MoneyElement, html, nothing } from "../../elements/money/money_element.js";
import "../charts/day_chart.js";
import { latestDays, zone } from "../days.js";
import { sectionStyles } from "../section_styles.js";
import "./proof.js";
import { operatorStyles } from "./styles.js";

const DAYS = 30;
const BALANCES = ["users", "escrow", "tokenSales", "promotions", "payouts", "losses"];

export class OperatorAccounts extends MoneyElement {
  static styles = [...MoneyElement.styles, sectionStyles, operatorStyles];

  #overview = new Reading(this, () => this.api.getAdminOverview({ days: DAYS, tz: zone() }));

  begin(client) {
    super.begin(client);
    this.#overview.start();
  }

  render() {
    return html`<hm-operator-proof></hm-operator-proof>
      <section class="stack">
        <h2>${this.t("operator.overview", { count: DAYS })}</h2>
        ${this.#overview.view((overview) => this.#content(overview), 6)}
      </section>`;
  }

  #content(overview) {
    const days = spentByDay(overview);
    const spent = days.reduce((sum, { tokens }) => sum + tokens, 0);
    return html`<div class="columns">
        <div class="card">${this.#sums(overview)}</div>
        <div class="card">${this.#balances(overview)}</div>
      </div>
      <h3>${this.t("operator.overview.spent")}</h3>
      <hm-day-chart .days=${days} label=${this.t("operator.overview.chart", { tokens: spent })}></hm-day-chart>
      <p class="hint">${this.t("operator.overview.scope", { zone: overview.tz })}</p>`;
  }

  #sums({ total, margin, currency, payoutCurrency }) {
    const { tokenSales, tips, blocks, ticketSales, calls, cashOut, cashOutCents } = total;
    const money = (cents, unit) => price(this.language, cents, unit);
    return html`<h3>${this.t("operator.overview.sums")}</h3>
      <dl>
        ${this.#fact("sales", money(tokenSales.revenueCents ?? 0, currency))}
        ${this.#fact("sold", this.tokens(tokenSales.tokens ?? 0))} ${this.#fact("blocks", this.tokens(blocks.tokens ?? 0))}
        ${this.#fact("tips", this.tokens(tips.tokens ?? 0))} ${this.#fact("tickets", this.tokens(ticketSales.tokens ?? 0))}
        ${this.#fact("calls", this.t("operator.overview.answered", { answered: calls.answered ?? 0, ended: calls.ended ?? 0 }))}
        ${this.#fact("cashOut", money(cashOutCents, payoutCurrency))}
        ${this.#fact("cashedOut", this.tokens(cashOut.tokens ?? 0))}
        ${currency === payoutCurrency ? this.#fact("margin", money(margin.marginCents, currency)) : nothing}
      </dl>`;
  }

  #balances({ closing }) {
    return html`<h3>${this.t("operator.balances")}</h3>
      <dl>
        ${BALANCES.map(
          (name) => html`<dt>${this.t(`operator.balance.${name}`)}</dt>
            <dd>${new Intl.NumberFormat(this.language).format(closing[name])}</dd>`,
        )}
      </dl>`;
  }

  #fact(name, value) {
    return html`<dt>${this.t(`operator.overview.${name}`)}</dt><dd>${value}</dd>`;
  }
}

/** What fans have spent on each day, without refunded tokens, the oldest day first. */
function spentByDay({ days }) {
  const byDay = new Map(days.map((each) => [each.day, each]));
  const tokensOf = (sums) => (sums?.blocks.tokens ?? 0) + (sums?.tips.tokens ?? 0) + (sums?.ticketSales.tokens ?? 0);
  return latestDays(DAYS).map((day) => ({ day, tokens: tokensOf(byDay.get(day)) }));
}

customElements.define("hm-operator-accounts", OperatorAccounts);
