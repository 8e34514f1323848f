// Errors of the server as a person reads them, with a way on.

import { css, html, nothing } from "./element.js";
import { clock } from "./words.js";

const LOSSES = ["NETWORK", "TIMEOUT", "DISCONNECTED", "HTTP_502", "HTTP_504"];

/** The text of an error, with the figures that it has. */
export function reasonOf(element, error) {
  const { code, message, required, current, shortfall, retryAfter } = error;
  if (code === "INSUFFICIENT_TOKENS") return element.t("refusal.tokens", { required, current, shortfall });
  if (LOSSES.includes(code)) return element.t("refusal.network");
  return retryAfter ? `${message}. ${element.t("refusal.later", { time: clock(retryAfter) })}` : message;
}

/** A notice of the error, with a button that tries again if there is something to try. */
export function refusalView(element, error, retry) {
  if (!error) return nothing;
  const again = retry && html`<button class="quiet" @click=${retry}>${element.t("retry")}</button>`;
  return html`<div class="notice bad" part="error" role="alert">
    <p>${reasonOf(element, error)}</p>
    ${again}
  </div>`;
}

export const noticeStyles = css`
  .notice {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.5rem 1rem;
    padding: 0.75rem 1rem;
    border-inline-start: 4px solid var(--hm-quiet, #5b6270);
    border-radius: var(--hm-radius, 0.75rem);
    background: var(--hm-panel, #f4f5f8);
  }
  .notice p {
    flex: 1 1 14rem;
    margin: 0;
  }
  .notice.bad {
    border-color: var(--hm-bad, #b3261e);
  }
  .notice.warn {
    border-color: var(--hm-warn, #8a4b00);
  }
`;
