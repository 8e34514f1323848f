// Shows a list that is read page by page: its wait, its failure, its emptiness, its items and the button for more.

import { html, nothing } from "./element.js";

/** `empty` is the text without items; `show` makes a template of an item for an element of the role listitem. */
export function listView(element, list, empty, show) {
  if (list.state === "waiting") return element.skeleton();
  if (list.state === "failed") return element.failure(list.error, () => list.load());
  if (list.items.length === 0) return html`<p class="quiet-text" part="empty">${empty}</p>`;
  return html`${show(list.items)} ${list.error ? element.failure(list.error, () => list.more()) : nothing}
  ${foot(element, list)}`;
}

function foot(element, list) {
  const { items, total, next, isBusy } = list;
  if (!next) return nothing;
  return html`<div class="row apart">
    <span class="quiet-text small tabular">${element.t("list.shown", { shown: items.length, total })}</span>
    <button class="quiet" type="button" aria-disabled=${isBusy} @click=${() => list.more()}>
      ${element.t("list.more")}
    </button>
  </div>`;
}
