// The meter of a person who pays by the block: a ring that fills with each block, the time, the cost, and what is left.

import { css, html, nothing } from "../base/element.js";
import { clock } from "../base/words.js";

/**
 * `seconds` of active time, `blocks` paid so far, `tokens` spent or earned under the name `spent`, and `left`: how long
 * the balance lasts, null for a creator.
 */
export function meterView(element, { seconds, blocks, blockSeconds, tokens, spent, left, isLow }) {
  return html`<div class="meter ${isLow ? "low" : ""}" part="meter" role="group" aria-label=${element.t("meter.label")}>
    <svg class="ring" part="ring" viewBox="0 0 36 36" aria-hidden="true">
      <circle cx="18" cy="18" r="15.9155" />
      <circle
        class="used"
        cx="18"
        cy="18"
        r="15.9155"
        pathLength="100"
        stroke-dasharray="${usedOf(seconds, blocks, blockSeconds)} 100"
      />
    </svg>
    <dl class="tabular">
      <div>
        <dt>${element.t("meter.time")}</dt>
        <dd class="time"><span role="timer">${clock(Math.floor(seconds))}</span></dd>
      </div>
      <div>
        <dt>${spent}</dt>
        <dd class="tokens">${element.t("tokens", { count: tokens })}</dd>
      </div>
      ${
        left === null
          ? nothing
          : html`<div>
              <dt>${element.t("meter.left")}</dt>
              <dd class="left"><span role="timer">${clock(Math.floor(left))}</span></dd>
            </div>`
      }
    </dl>
  </div>`;
}

/** How much of the last paid block is used, from 0 to 100. */
export function usedOf(seconds, blocks, blockSeconds) {
  if (blocks === 0) return 0;
  return Math.round(100 * Math.min(1, Math.max(0, seconds / blockSeconds - (blocks - 1))));
}

export const meterStyles = css`
  .meter {
    display: flex;
    align-items: center;
    gap: 1rem;
    padding: 0.75rem 1rem;
    border-radius: var(--hm-radius, 0.75rem);
    background: var(--hm-panel, #f4f5f8);
  }
  .ring {
    flex: none;
    width: 2.75rem;
    height: 2.75rem;
    transform: rotate(-90deg);
  }
  .ring circle {
    fill: none;
    stroke: var(--hm-line, #d5d8df);
    stroke-width: 4;
  }
  .ring .used {
    stroke: var(--hm-accent, #4a3fd6);
  }
  .meter dl {
    display: flex;
    flex: 1;
    flex-wrap: wrap;
    justify-content: space-between;
    gap: 0.25rem 1rem;
    margin: 0;
  }
  .meter dt {
    color: var(--hm-quiet, #5b6270);
    font-size: 0.8125rem;
  }
  .meter dd {
    margin: 0;
    font-weight: 600;
  }
  .meter.low .left {
    color: var(--hm-warn, #8a4b00);
  }
  .meter.low .used {
    stroke: var(--hm-warn, #8a4b00);
  }
`;
