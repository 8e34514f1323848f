// <hm-studio-month>: what a month has earned by calls and streams, tips and tickets: booked, refunded and net.

import { Reading } from "../../elements/base/reading.js";
import { MoneyElement, css, html } from "../../elements/money/money_element.js";
import { latestMonths, monthOf, zone } from "../days.js";
import { sectionStyles } from "../section_styles.js";

const MONTHS = 12;
// The kinds of postings that earn, and the kind whose refunds take from them: a ticket earns when it is released.
const KINDS = { block: "block", tip: "tip", release: "ticket" };

export class StudioMonth extends MoneyElement {
  static properties = { month: { state: true } };
  static styles = [
    ...MoneyElement.styles,
    sectionStyles,
    css`
      select {
        width: auto;
      }
    `,
  ];

  #lines = new Reading(this, () => this.#read());

  constructor() {
    super();
    [this.month] = latestMonths(1);
  }

  begin(client) {
    super.begin(client);
    this.#lines.start();
  }

  render() {
    return html`<section class="stack">
      <div class="row apart">
        <h2>${this.t("studio.month")}</h2>
        <select aria-label=${this.t("studio.month.choice")} @change=${({ target }) => this.#show(target.value)}>
          ${latestMonths(MONTHS).map(
            (month) => html`<option value=${month} ?selected=${month === this.month}>
              ${monthOf(this.language, month)}
            </option>`,
          )}
        </select>
      </div>
      ${this.#lines.view((lines) => this.#content(lines), 4)}
    </section>`;
  }

  #content(lines) {
    const figures = Object.keys(KINDS).map((kind) => ({ kind, ...figuresOf(lines, kind) }));
    const sum = (name) => figures.reduce((total, each) => total + each[name], 0);
    return html`<table>
      <thead>
        <tr>
          <th scope="col">${this.t("studio.month.source")}</th>
          <th scope="col" class="end">${this.t("studio.month.booked")}</th>
          <th scope="col" class="end">${this.t("studio.earnings.refunded")}</th>
          <th scope="col" class="end">${this.t("studio.earnings.net")}</th>
        </tr>
      </thead>
      <tbody>
        ${figures.map(({ kind, booked, refunded }) => this.#row(`studio.month.${kind}`, booked, refunded))}
      </tbody>
      <tfoot>
        ${this.#row("studio.month.total", sum("booked"), sum("refunded"))}
      </tfoot>
    </table>`;
  }

  #row(name, booked, refunded) {
    const format = new Intl.NumberFormat(this.language);
    return html`<tr>
      <th scope="row">${this.t(name)}</th>
      ${[booked, refunded, booked - refunded].map((figure) => html`<td>${format.format(figure)}</td>`)}
    </tr>`;
  }

  #show(month) {
    this.month = month;
    this.#lines.restart();
  }

  async #read() {
    return (await this.api.getWalletStatement({ month: this.month, tz: zone() })).lines;
  }
}

function figuresOf(lines, kind) {
  const sum = (isWanted) => lines.filter(isWanted).reduce((total, { tokens }) => total + Math.abs(tokens), 0);
  return {
    booked: sum((line) => line.kind === kind && line.side === "credit"),
    refunded: sum((line) => line.kind === "refund" && line.side === "debit" && line.refundOf === KINDS[kind]),
  };
}

customElements.define("hm-studio-month", StudioMonth);
