// <hm-operator-load>: the present load of the server as figures and charts that follow it, and what is out of order.

import { MoneyElement, css, html, nothing } from "../../elements/money/money_element.js";
import "../charts/live_chart.js";
import { sectionStyles } from "../section_styles.js";
import { Rates } from "./rates.js";

const READ_MS = 2000;
const LATE_MS_MAX = 250; // of a block on average, beyond which payers would notice
const COMMIT_MS_MAX = 250;
const WAITING_MAX = 1000; // commands before the storage actor
// The figures that have a chart, with the digits that they are shown with.
const CHARTS = { tokensPerMinute: 0, deliveriesPerSecond: 0, commitMs: 1, postingsPerBatch: 1, lateMs: 1, connections: 0 };

export class OperatorLoad extends MoneyElement {
  static properties = { figures: { state: true }, error: { state: true } };
  static styles = [
    ...MoneyElement.styles,
    sectionStyles,
    css`
      .tiles {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(7rem, 1fr));
        gap: 0.75rem;
      }
      .tiles div {
        display: flex;
        flex-direction: column-reverse;
        padding: 0.75rem 1rem;
        border-radius: var(--hm-radius, 0.75rem);
        background: var(--hm-panel, #f4f5f8);
      }
      .tiles dt {
        font-size: 0.875rem;
      }
      .tiles dd {
        font-size: 1.5rem;
        font-weight: 700;
        text-align: start;
      }
      .charts {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr));
        gap: 0.75rem;
      }
    `,
  ];

  #rates = new Rates();
  #timer;
  #generation = 0;

  begin(client) {
    super.begin(client);
    this.#read(++this.#generation);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#generation++;
    clearTimeout(this.#timer);
  }

  render() {
    return html`<section class="stack">
      <h2>${this.t("operator.load.now")}</h2>
      ${this.error ? this.failure(this.error) : nothing} ${this.figures ? this.#content() : this.skeleton(6)}
    </section>`;
  }

  #content() {
    const { connections, calls, streams, waitingCommands } = this.figures;
    return html`<div role="status">${this.#alarms().map((text) => html`<p class="notice warn">${text}</p>`)}</div>
      <dl class="tiles">
        ${Object.entries({ calls, streams, connections, waitingCommands }).map(
          ([name, figure]) => html`<div>
            <dt>${this.t(`operator.load.${name}`)}</dt>
            <dd>${new Intl.NumberFormat(this.language).format(figure)}</dd>
          </div>`,
        )}
      </dl>
      <div class="charts">${Object.entries(CHARTS).map(([name, digits]) => this.#chart(name, digits))}</div>
      <p class="hint">${this.t("operator.load.scope")}</p>`;
  }

  #chart(name, digits) {
    const points = this.#rates.points.map((point) => ({ at: point.at, value: point[name] ?? null }));
    const latest = points.at(-1)?.value;
    const form = { maximumFractionDigits: digits, minimumFractionDigits: digits };
    const reading = latest == null ? "–" : new Intl.NumberFormat(this.language, form).format(latest);
    const label = this.t(`operator.load.${name}`);
    return html`<hm-live-chart label=${label} .points=${points} reading=${reading}></hm-live-chart>`;
  }

  #alarms() {
    const { lateMs, commitMs } = this.#rates.points.at(-1) ?? {};
    const { draining, waitingCommands } = this.figures;
    return [
      draining && this.t("operator.alarm.draining"),
      lateMs > LATE_MS_MAX && this.t("operator.alarm.late", { ms: Math.round(lateMs) }),
      commitMs > COMMIT_MS_MAX && this.t("operator.alarm.commit", { ms: Math.round(commitMs) }),
      waitingCommands > WAITING_MAX && this.t("operator.alarm.waiting", { count: waitingCommands }),
    ].filter(Boolean);
  }

  // A page that nobody sees asks less often, since the browser delays its timers.
  async #read(generation) {
    try {
      const figures = await this.api.getAdminFigures();
      if (generation !== this.#generation) return;
      this.#rates.add(figures);
      this.figures = figures;
      this.error = undefined;
    } catch (error) {
      if (generation !== this.#generation) return;
      this.#rates.addGap(Date.now());
      this.error = error;
    }
    this.#timer = setTimeout(() => this.#read(generation), READ_MS);
  }
}

customElements.define("hm-operator-load", OperatorLoad);
