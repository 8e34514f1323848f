// Controls that calls and streams share: camera and microphone, notices about them, and the warning of a low balance.

import { css, html, nothing } from "../base/element.js";

export function localControlsView(element) {
  const { local } = element.session;
  const toggle = (kind, text) =>
    local.has(kind)
      ? html`<button class="quiet" aria-pressed=${local.isOn(kind)} @click=${() => element.toggle(kind)}>
          ${text}
        </button>`
      : nothing;
  return html`${toggle("audio", element.t("video.microphone"))} ${toggle("video", element.t("video.camera"))}`;
}

export function mediaNoticeView(element) {
  const { local, hasNoMedia } = element.session;
  if (hasNoMedia) return html`<div class="notice warn"><p>${element.t("video.unknown")}</p></div>`;
  if (local.wasRefused) return html`<div class="notice warn"><p>${element.t("video.refused")}</p></div>`;
  if (local.stream && !local.has("video"))
    return html`<div class="notice"><p>${element.t("video.no-camera")}</p></div>`;
  return nothing;
}

/** The warning that the next block cannot be paid, with a way to buy tokens. */
export function lowView(element, text) {
  const { required, balance } = element.session.low ?? {};
  if (required === undefined) return nothing;
  return html`<div class="notice warn" part="low">
    <p class="tabular" role="alert">${text({ required, balance, shortfall: required - balance })}</p>
    <slot name="top-up"><button @click=${() => element.topUp(required)}>${element.t("funds.top-up")}</button></slot>
  </div>`;
}

export const controlStyles = css`
  .buttons {
    display: flex;
    flex-wrap: wrap;
    justify-content: center;
    gap: 0.75rem;
    width: 100%;
  }
  .buttons button,
  .buttons ::slotted(*) {
    flex: 1 1 8rem;
  }
  button.end {
    background: var(--hm-bad, #b3261e);
    color: var(--hm-paper, #fff);
  }
  button[aria-pressed="false"] {
    border-style: dashed;
    color: var(--hm-quiet, #5b6270);
    text-decoration: line-through;
  }
  button[aria-disabled="true"] {
    opacity: 0.7;
    cursor: default;
  }
`;
