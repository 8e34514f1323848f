// The chat of a call or stream with its tips: what was written, in order, and the form to write.

import { repeat } from "../../vendor/lit-html/directives/repeat.js";
import { css, html, nothing } from "./element.js";
import { nameOf } from "./person.js";

const LINES_MAX = 200;
const TEXT_MAX = 500; // as the server allows
const NEAR_PX = 40; // from the end, within which the newest message is scrolled into view

export class ChatFeed {
  #host;
  #count = 0;
  #follows = true;

  lines = [];
  names = new Map(); // of users who wrote or gave something

  constructor(host) {
    this.#host = host;
    host.addController(this);
  }

  /** Begins anew with the room's history. */
  reset(history) {
    this.lines = [];
    for (const event of history) this.add(event);
  }

  /** Adds a chat message or a tip. */
  add(event) {
    this.names.set(event.from.userId, event.from.displayName);
    this.lines = [...this.lines, { ...event, id: ++this.#count }].slice(-LINES_MAX);
  }

  hostUpdate() {
    const feed = this.#feed;
    this.#follows = !feed || feed.scrollHeight - feed.scrollTop - feed.clientHeight < NEAR_PX;
  }

  hostUpdated() {
    if (this.#follows && this.#feed) this.#feed.scrollTop = this.#feed.scrollHeight;
  }

  get #feed() {
    return this.#host.shadowRoot?.querySelector(".feed");
  }
}

/** `choose` is called with the author of a message or tip, if the reader may moderate. */
export function feedView(element, { lines }, choose) {
  const empty = html`<p class="quiet-text">${element.t("chat.empty")}</p>`;
  return html`<div class="feed" part="chat" role="log" tabindex="0" aria-label=${element.t("chat.label")}>
    ${
      lines.length
        ? repeat(
            lines,
            ({ id }) => id,
            (line) => lineView(element, line, choose),
          )
        : empty
    }
  </div>`;
}

function lineView(element, { type, from, text, amountTokens, message }, choose) {
  const name = nameOf(element, from);
  const isTip = type === "tip:new";
  const gift = isTip
    ? html`<span class="gift tabular">${element.t(amountTokens === 1 ? "money.token" : "tokens", { count: amountTokens })}</span>`
    : nothing;
  return html`<div class=${isTip ? "line tip" : "line"} part=${isTip ? "tip" : "message"}>
    <p><strong>${name}</strong> ${gift} <span class="text">${isTip ? message : text}</span></p>
    ${
      choose && from.userId !== element.userId
        ? html`<button
            class="quiet more"
            aria-label=${element.t("chat.moderate", { name })}
            @click=${() => choose(from)}
          >
            ⋯
          </button>`
        : nothing
    }
  </div>`;
}

export function formView(element, send, isBusy) {
  const submit = async (event) => {
    event.preventDefault();
    const input = event.target.elements.text;
    const text = input.value.trim();
    if (text && (await send(text))) input.value = "";
  };
  return html`<form class="write" @submit=${submit}>
    <label class="hidden-text" for="text">${element.t("chat.write")}</label>
    <input id="text" name="text" autocomplete="off" maxlength=${TEXT_MAX} placeholder=${element.t("chat.write")} />
    <button aria-disabled=${isBusy}>${element.t("chat.send")}</button>
  </form>`;
}

export const chatStyles = css`
  .feed {
    display: flex;
    flex: 1;
    flex-direction: column;
    gap: 0.25rem;
    overflow-y: auto;
    min-height: 12rem;
    max-height: 22rem;
    padding: 0.75rem 1rem;
    border: 1px solid var(--hm-line, #d5d8df);
    border-radius: var(--hm-radius, 0.75rem);
  }
  .feed > :first-child {
    margin-block-start: auto;
  }
  .line {
    display: flex;
    align-items: center;
    justify-content: space-between;
    gap: 0.5rem;
    border-radius: 0.5rem;
  }
  .line p {
    margin: 0;
    padding-block: 0.125rem;
    overflow-wrap: anywhere;
  }
  .line.tip {
    padding-inline: 0.75rem;
    border-inline-start: 4px solid var(--hm-accent, #4a3fd6);
    background: var(--hm-panel, #f4f5f8);
    animation: arrive 0.4s ease-out;
  }
  @keyframes arrive {
    from {
      opacity: 0;
      transform: translateY(0.75rem);
    }
  }
  .gift {
    color: var(--hm-accent, #4a3fd6);
    font-weight: 600;
  }
  button.more {
    flex: none;
    min-width: 2.75rem;
    padding: 0;
    border-color: transparent;
  }
  .write {
    display: flex;
    gap: 0.5rem;
  }
  .write input {
    flex: 1;
    min-width: 0;
    min-height: 2.75rem;
    padding: 0 1rem;
    border: 1px solid var(--hm-quiet, #5b6270);
    border-radius: var(--hm-radius, 0.75rem);
    background: var(--hm-paper, #fff);
    color: inherit;
    font: inherit;
  }
`;
