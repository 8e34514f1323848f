// <hm-studio-earnings>: what calls and streams have earned by day, as a chart and as a table, net of refunds.

import { Reading } from "../../elements/base/reading.js";
import { MoneyElement, html, nothing } from "../../elements/money/money_element.js";
import { dayOf, latestDays, zone } from "../days.js";
import "../charts/day_chart.js";
import { sectionStyles } from "../section_styles.js";

const PERIODS = [7, 30, 90]; // days

export class StudioEarnings extends MoneyElement {
  static properties = {
    count: { state: true }, // of days that are shown
  };
  static styles = [...MoneyElement.styles, sectionStyles];

  #stats = new Reading(this, () => this.#read());

  constructor() {
    super();
    this.count = 30;
  }

  begin(client) {
    super.begin(client);
    this.#stats.start();
  }

  render() {
    return html`<section class="stack">
      <div class="row apart">
        <h2>${this.t("studio.earnings.days")}</h2>
        <div class="row" role="group" aria-label=${this.t("studio.earnings.period")}>
          ${PERIODS.map((count) => this.#period(count))}
        </div>
      </div>
      ${this.#stats.view((stats) => this.#content(stats), 6)}
    </section>`;
  }

  #period(count) {
    const show = () => this.#show(count);
    return html`<button type="button" class="quiet" aria-pressed=${count === this.count} @click=${show}>
      ${this.t("studio.earnings.count", { count })}
    </button>`;
  }

  #content({ blocks, tokens, refundedTokens: refunded, days, tz }) {
    const sums = this.t("studio.earnings.sums", { count: days.length, tokens, blocks, refunded });
    return html`<p role="status" class="tabular">${sums}</p>
      ${blocks || refunded ? html`<hm-day-chart .days=${days} label=${sums}></hm-day-chart>` : nothing}
      <p class="hint">${this.t("studio.earnings.scope", { zone: tz })}</p>
      ${blocks || refunded ? this.#table(days) : nothing}`;
  }

  #table(days) {
    const shown = days.filter(({ blocks, refundedTokens }) => blocks || refundedTokens).toReversed();
    return html`<details>
      <summary>${this.t("studio.earnings.table")}</summary>
      <table>
        <thead>
          <tr>
            <th scope="col">${this.t("studio.earnings.day")}</th>
            <th scope="col" class="end">${this.t("studio.earnings.blocks")}</th>
            <th scope="col" class="end">${this.t("studio.earnings.refunded")}</th>
            <th scope="col" class="end">${this.t("studio.earnings.net")}</th>
          </tr>
        </thead>
        <tbody>
          ${shown.map((day) => this.#row(day))}
        </tbody>
      </table>
    </details>`;
  }

  #row({ day, blocks, refundedTokens, tokens }) {
    const format = new Intl.NumberFormat(this.language);
    return html`<tr>
      <th scope="row"><time datetime=${day}>${dayOf(this.language, day)}</time></th>
      ${[blocks, refundedTokens, tokens].map((figure) => html`<td>${format.format(figure)}</td>`)}
    </tr>`;
  }

  #show(count) {
    this.count = count;
    this.#stats.start();
  }

  // Days without blocks and refunds are not in the answer.
  async #read() {
    const days = latestDays(this.count);
    const { tz, creator } = await this.api.getBillingStats({ from: days[0], tz: zone() });
    const byDay = new Map(creator.byDay.map((each) => [each.day, each]));
    const all = days.map((day) => byDay.get(day) ?? { day, blocks: 0, tokens: 0, refundedTokens: 0 });
    return { ...creator, tz, days: all };
  }
}

customElements.define("hm-studio-earnings", StudioEarnings);
