// <hm-day-chart>: bars of tokens by day, and below them the figure of the day under the pointer.
//
// Property `days` is a list of `{day, tokens}`, the oldest first. Parts: chart.

import { css, html } from "../../elements/base/element.js";
import { languageOf } from "../../elements/base/words.js";
import UPlot from "../../vendor/uplot/uPlot.esm.js";
import { dayOf } from "../days.js";
import { ChartElement } from "./chart_element.js";

const BAR_SHARE = 0.7; // of a day's width
const BAR_MAX = 48; // pixels
const LABEL_HEIGHT = 28;
const LABEL_WIDTH = 70; // pixels of a day's label on the axis
// Whole tokens, or days; up to the largest sum of tokens.
const STEPS = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();

export class DayChart extends ChartElement {
  static properties = { days: { attribute: false }, shown: { state: true } };
  static styles = [
    ChartElement.styles,
    css`
      .chart {
        min-height: 13.75rem;
      }
      p {
        min-height: 1.5em;
        margin: 0;
        font-size: 0.875rem;
        text-align: center;
      }
    `,
  ];

  updated(changed) {
    if (changed.has("days") || changed.has("lang")) this.draw();
  }

  render() {
    const day = this.days[this.shown];
    return html`${this.box()}
      <p class="tabular quiet-text" aria-hidden="true">${day ? this.#reading(day) : ""}</p>`;
  }

  #reading({ day, tokens }) {
    return `${dayOf(languageOf(this), day)}: ${this.t("tokens", { count: tokens })}`;
  }

  get data() {
    return [this.days.map((_, index) => index), this.days.map(({ tokens }) => tokens)];
  }

  get options() {
    const paths = UPlot.paths.bars({ size: [BAR_SHARE, BAR_MAX] });
    return {
      padding: [12, 8, 0, 0],
      cursor: { y: false, drag: { x: false }, points: { show: false } },
      scales: { x: { time: false, range: [-0.6, this.days.length - 0.4] }, y: { range: tokenRange } },
      series: [{}, { fill: this.colour("accent"), paths, points: { show: false } }],
      axes: [this.#dayAxis(), { ...this.amountAxis(languageOf(this)), incrs: STEPS }],
      hooks: { setCursor: [({ cursor }) => (this.shown = cursor.idx ?? undefined)] },
    };
  }

  #dayAxis() {
    const label = (index) => (this.days[index] ? dayOf(languageOf(this), this.days[index].day) : "");
    const ticks = { show: false };
    const values = (_, at) => at.map(label);
    const sizes = { size: LABEL_HEIGHT, space: LABEL_WIDTH, incrs: STEPS };
    return { ...this.axis(), ...sizes, grid: { show: false }, ticks, values };
  }
}

// The axis includes zero, and reaches at least one token.
function tokenRange(_, low, high) {
  return [Math.min(0, low ?? 0) * 1.1, Math.max(1, high ?? 0) * 1.1];
}

customElements.define("hm-day-chart", DayChart);
