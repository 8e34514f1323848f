// <hm-studio-earnings>: what calls and streams have earned by day, as a chart and as a table, net of refunds.

import { MoneyElement, html, nothing } from "../../elements/money/money_element.js";
import { dayOf, latestDays, zone } from "../days.js";
import "../charts/day_chart.js";
import { sectionStyles } from "../section_styles.js";

const PERIODS = [7, 30, 90]; // days

export class StudioEarnings extends MoneyElement {
  static properties = {
    count: { state: true }, // of days that are shown
    stats: { state: true },
    error: { state: true },
  };
  static styles = [...MoneyElement.styles, sectionStyles];

  #reading = 0;

  constructor() {
    super();
    this.count = 30;
  }

  begin(client) {
    super.begin(client);
    this.#read();
  }

  render() {
    return html`<section class="stack">
      <div class="row apart">
        <h2>${this.t("studio.earnings.days")}</h2>
        <div class="row" role="group" aria-label=${this.t("studio.earnings.period")}>
          ${PERIODS.map((count) => this.#period(count))}
        </div>
      </div>
      ${this.#content()}
    </section>`;
  }

  #period(count) {
    const show = () => this.#show(count);
    return html`<button type="button" class="quiet" aria-pressed=${count === this.count} @click=${show}>
      ${this.t("studio.earnings.count", { count })}
    </button>`;
  }

  #content() {
    if (this.error) return this.failure(this.error, () => this.#read());
    if (!this.stats) return this.skeleton(6);
    const { blocks, tokens, refundedTokens: refunded, days } = this.stats;
    const sums = this.t("studio.earnings.sums", { count: days.length, tokens, blocks, refunded });
    return html`<p role="status" class="tabular">${sums}</p>
      ${blocks || refunded ? html`<hm-day-chart .days=${days} label=${sums}></hm-day-chart>` : nothing}
      <p class="hint">${this.t("studio.earnings.scope", { zone: this.stats.tz })}</p>
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
    this.#read();
  }

  // Only the answers to the latest reading are shown. Days without blocks and refunds are not in the answer.
  async #read() {
    const reading = ++this.#reading;
    const days = latestDays(this.count);
    this.error = undefined;
    try {
      const { tz, creator } = await this.api.getBillingStats({ from: days[0], tz: zone() });
      if (reading !== this.#reading) return;
      const byDay = new Map(creator.byDay.map((each) => [each.day, each]));
      const all = days.map((day) => byDay.get(day) ?? { day, blocks: 0, tokens: 0, refundedTokens: 0 });
      this.stats = { ...creator, tz, days: all };
    } catch (error) {
      if (reading === this.#reading) this.error = error;
    }
  }
}

customElements.define("hm-studio-earnings", StudioEarnings);
