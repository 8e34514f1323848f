// The base of charts: a uPlot chart that follows the element's width, the colour scheme and the language.
//
// A chart is a picture: a page gives the same figures as a text or a table. Property `label` names it. Parts: chart.

import { HalfminuteElement, css, html } from "../../elements/base/element.js";
import UPlot from "../../vendor/uplot/uPlot.esm.js";

const sheet = new CSSStyleSheet();
const styled = fetch(new URL("../../vendor/uplot/uPlot.min.css", import.meta.url))
  .then((answer) => answer.text())
  .then((text) => sheet.replaceSync(text));
styled.catch(() => {}); // a chart without its looks is still readable beside its figures

const LETTER_WIDTH = 7; // pixels of a digit of an axis
const LABEL_GAP = 14; // pixels beside the labels of an axis

export class ChartElement extends HalfminuteElement {
  static properties = { label: {} };
  static styles = [
    HalfminuteElement.styles,
    css`
      .u-over {
        cursor: default;
      }
    `,
  ];

  #chart;
  #scheme = matchMedia("(prefers-color-scheme: dark)");
  #redraw = () => this.draw();
  #size = new ResizeObserver(([{ contentRect }]) => {
    this.#chart?.setSize({ width: contentRect.width, height: this.height });
  });

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

  /** The height in pixels. */
  get height() {
    return 220;
  }

  /** The options of uPlot beyond size and legend. A subclass overrides it. */
  get options() {
    return {};
  }

  /** The values of each series, as uPlot takes them. A subclass overrides it. */
  get data() {
    return [];
  }

  box() {
    return html`<div class="chart" part="chart" role="img" aria-label=${this.label}></div>`;
  }

  /** Draws the chart anew. */
  draw() {
    this.#chart?.destroy();
    const sizes = { width: this.#box.clientWidth, height: this.height };
    this.#chart = new UPlot({ ...sizes, legend: { show: false }, ...this.options }, this.data, this.#box);
  }

  /** Shows the present data in the chart that is drawn. */
  redata() {
    if (this.#chart) this.#chart.setData(this.data);
    else this.draw();
  }

  axis() {
    return { stroke: this.colour("quiet"), font: `12px ${getComputedStyle(this).fontFamily}` };
  }

  /** An axis of amounts with few digits, such as 1.2K. */
  amountAxis(language) {
    const format = new Intl.NumberFormat(language, { notation: "compact" });
    const grid = { stroke: this.colour("line"), width: 1 };
    const values = (_, at) => at.map((each) => format.format(each));
    return { ...this.axis(), grid, ticks: { show: false }, values, size: widthOf };
  }

  colour(name) {
    return getComputedStyle(this).getPropertyValue(`--hm-${name}`).trim() || "#565e6c";
  }

  get #box() {
    return this.renderRoot.querySelector(".chart");
  }
}

// The width of an axis in pixels; before there are labels, that of an empty one.
function widthOf(_, labels) {
  return LABEL_GAP + LETTER_WIDTH * Math.max(0, ...(labels ?? []).map((label) => label.length));
}
