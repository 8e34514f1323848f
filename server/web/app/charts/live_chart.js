// <hm-live-chart>: one figure over the latest minutes; a gap is a time without an answer.
//
// Properties: `label` names the figure, `points` are `{at, value}` with `at` in milliseconds and null as the value of a
// gap, `reading` is the present figure as a text. Parts: chart.

import { css, html } from "../../elements/base/element.js";
import { languageOf } from "../../elements/base/words.js";
import { ChartElement } from "./chart_element.js";

const LABEL_WIDTH = 90; // pixels of a time on the axis
const SHOWN_SECONDS = 300;

export class LiveChart extends ChartElement {
  static properties = { points: { attribute: false }, reading: {} };
  static styles = [
    ChartElement.styles,
    css`
      figure {
        display: grid;
        grid-template-columns: 1fr auto;
        gap: 0.25rem 1rem;
        align-items: baseline;
        margin: 0;
        padding: 1rem 0.5rem 0.5rem 1rem;
        border-radius: var(--hm-radius, 0.75rem);
        background: var(--hm-panel, #f4f5f8);
      }
      .name {
        font-size: 0.9375rem;
      }
      .reading {
        padding-inline-end: 0.5rem;
        font-size: 1.25rem;
        font-weight: 700;
      }
      .chart {
        grid-column: 1 / -1;
        min-width: 0;
        min-height: 8.75rem;
      }
    `,
  ];

  get height() {
    return 140;
  }

  updated(changed) {
    if (changed.has("lang")) this.draw();
    else if (changed.has("points")) this.redata();
  }

  render() {
    return html`<figure>
      <figcaption class="name">${this.label}</figcaption>
      <span class="reading tabular">${this.reading}</span>
      ${this.box()}
    </figure>`;
  }

  get data() {
    return [this.points.map(({ at }) => at / 1000), this.points.map(({ value }) => value)];
  }

  get options() {
    return {
      padding: [8, 28, 0, 0], // the half of the last label
      cursor: { show: false },
      scales: { x: { range: (_, __, latest) => [latest - SHOWN_SECONDS, latest] }, y: { range: (_, low, high) => [0, Math.max(1, high ?? 0) * 1.1] } },
      series: [{}, { stroke: this.colour("accent"), width: 2, points: { show: false } }],
      axes: [this.#timeAxis(), this.amountAxis(languageOf(this))],
    };
  }

  #timeAxis() {
    const format = new Intl.DateTimeFormat(languageOf(this), { timeStyle: "medium" });
    const values = (_, at) => at.map((seconds) => format.format(seconds * 1000));
    return { ...this.axis(), grid: { show: false }, ticks: { show: false }, space: LABEL_WIDTH, size: 28, values };
  }
}

customElements.define("hm-live-chart", LiveChart);
