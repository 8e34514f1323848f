// <hm-day-chart>: bars of tokens by day, and below them the figure of the day under the pointer.
//
// Property `days` is a list of `{day, tokens}`, the oldest first. The chart is a picture: a page gives the same figures
// as a text or a table. Parts: chart.

import { HalfminuteElement, css, html } from "../../elements/base/element.js";
import { languageOf } from "../../elements/base/words.js";
import UPlot from "../../vendor/uplot/uPlot.esm.js";
import { dayOf } from "../days.js";

const HEIGHT = 220;
const BAR_SHARE = 0.7; // of a day's width
const BAR_MAX = 48; // pixels
const LABEL_HEIGHT = 28;
const LABEL_WIDTH = 70; // pixels of a day's label on the axis
// Whole tokens, or days.
const STEPS = Array.from({ length: 9 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();

const sheet = new CSSStyleSheet();
const styled = fetch(new URL("../../vendor/uplot/uPlot.min.css", import.meta.url))
  .then((answer) => answer.text())
  .then((text) => sheet.replaceSync(text));
styled.catch(() => {}); // a chart without its looks is still readable beside its table

export class DayChart extends HalfminuteElement {
  static properties = { days: { attribute: false }, label: {}, shown: { state: true } };
  static styles = [
    HalfminuteElement.styles,
    css`
      .chart {
        min-height: 13.75rem;
      }
      .u-over {
        cursor: default;
      }
      p {
        min-height: 1.5em;
        margin: 0;
        font-size: 0.875rem;
        text-align: center;
      }
    `,
  ];

  #chart;
  #scheme = matchMedia("(prefers-color-scheme: dark)");
  #redraw = () => this.#draw();
  #size = new ResizeObserver(([{ contentRect }]) => this.#chart?.setSize({ width: contentRect.width, height: HEIGHT }));

  connectedCallback() {
    super.connectedCallback();
    this.#scheme.addEventListener("change", this.#redraw);
    this.updateComplete.then(() => this.#size.observe(this.#box));
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#scheme.removeEventListener("change", this.#redraw);
    this.#size.disconnect();
  }

  firstUpdated() {
    this.renderRoot.adoptedStyleSheets = [sheet, ...this.renderRoot.adoptedStyleSheets];
  }

  updated(changed) {
    if (changed.has("days") || changed.has("lang")) this.#draw();
  }

  render() {
    const day = this.days[this.shown];
    return html`<div class="chart" part="chart" role="img" aria-label=${this.label}></div>
      <p class="tabular quiet-text" aria-hidden="true">${day ? this.#reading(day) : ""}</p>`;
  }

  #reading({ day, tokens }) {
    return `${dayOf(languageOf(this), day)}: ${this.t("tokens", { count: tokens })}`;
  }

  get #box() {
    return this.renderRoot.querySelector(".chart");
  }

  #draw() {
    this.#chart?.destroy();
    const data = [this.days.map((_, index) => index), this.days.map(({ tokens }) => tokens)];
    this.#chart = new UPlot(this.#options(), data, this.#box);
  }

  #options() {
    const paths = UPlot.paths.bars({ size: [BAR_SHARE, BAR_MAX] });
    return {
      width: this.#box.clientWidth,
      height: HEIGHT,
      padding: [12, 8, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false }, points: { show: false } },
      scales: { x: { time: false, range: [-0.6, this.days.length - 0.4] }, y: { range: yRange } },
      series: [{}, { fill: this.#colour("accent"), paths, points: { show: false } }],
      axes: [this.#dayAxis(), this.#tokenAxis()],
      hooks: { setCursor: [({ cursor }) => (this.shown = cursor.idx ?? undefined)] },
    };
  }

  #dayAxis() {
    const label = (index) => (this.days[index] ? dayOf(languageOf(this), this.days[index].day) : "");
    const ticks = { show: false };
    const values = (_, at) => at.map(label);
    const sizes = { size: LABEL_HEIGHT, space: LABEL_WIDTH, incrs: STEPS };
    return { ...this.#axis(), ...sizes, grid: { show: false }, ticks, values };
  }

  #tokenAxis() {
    const format = new Intl.NumberFormat(languageOf(this), { notation: "compact" });
    const grid = { stroke: this.#colour("line"), width: 1 };
    const values = (_, at) => at.map((each) => format.format(each));
    return { ...this.#axis(), grid, ticks: { show: false }, incrs: STEPS, values };
  }

  #axis() {
    return { stroke: this.#colour("quiet"), font: `12px ${getComputedStyle(this).fontFamily}` };
  }

  #colour(name) {
    return getComputedStyle(this).getPropertyValue(`--hm-${name}`).trim() || "#565e6c";
  }
}

// The axis includes zero, and reaches at least one token.
function yRange(_, low, high) {
  return [Math.min(0, low ?? 0) * 1.1, Math.max(1, high ?? 0) * 1.1];
}

customElements.define("hm-day-chart", DayChart);
