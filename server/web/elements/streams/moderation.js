// The dialog in which a stream's owner mutes or removes a viewer, or ends the stream.

import { css, html, nothing } from "../base/element.js";
import { nameOf } from "../base/person.js";
import { noticeView } from "../base/notice.js";

export class Moderation {
  #host;

  subject = null; // a person, or "end"
  error = null;
  busy = false;
  done = ""; // the outcome of the last action, for screen readers

  constructor(host) {
    this.#host = host;
  }

  choose = async (subject) => {
    Object.assign(this, { subject, error: null });
    this.#host.requestUpdate();
    await this.#host.updateComplete;
    this.#dialog?.showModal();
  };

  close = () => {
    this.#dialog?.close();
  };

  /** Carries out what was confirmed, and closes the dialog if that worked. */
  async act(act, done) {
    if (this.busy) return;
    Object.assign(this, { busy: true, error: null });
    this.#host.requestUpdate();
    try {
      await act();
      this.done = done;
      this.close();
    } catch (error) {
      this.error = error;
    }
    this.busy = false;
    this.#host.requestUpdate();
  }

  get #dialog() {
    return this.#host.shadowRoot.querySelector("dialog");
  }
}

export function moderationView(element, moderation) {
  const { subject, busy, error, done, close } = moderation;
  return html`<dialog part="dialog" aria-labelledby="subject">
      ${subject === "end" ? endView(element, moderation) : subject ? personView(element, moderation) : nothing}
      ${noticeView(element, error, null)}
      <button class="quiet" aria-disabled=${busy} @click=${close}>${element.t("stream.back")}</button>
    </dialog>
    <p class="hidden-text" role="status">${done}</p>`;
}

function endView(element, moderation) {
  const end = () => moderation.act(() => element.end(), "");
  return html`<h2 id="subject">${element.t("stream.end-question")}</h2>
    <p>${element.t("stream.end-text")}</p>
    <button class="end" @click=${end}>${element.t("stream.end")}</button>`;
}

function personView(element, moderation) {
  const { subject } = moderation;
  const name = nameOf(element, subject);
  const mute = () => moderation.act(() => element.mute(subject.userId), element.t("stream.muted", { name }));
  const remove = () =>
    moderation.act(() => element.removeViewer(subject.userId), element.t("stream.was-removed", { name }));
  return html`<h2 id="subject">${name}</h2>
    <p>${element.t("stream.mute-text")}</p>
    <button class="quiet" @click=${mute}>${element.t("stream.mute")}</button>
    <p>${element.t("stream.remove-text")}</p>
    <button class="end" @click=${remove}>${element.t("stream.remove")}</button>`;
}

export const moderationStyles = css`
  dialog {
    width: min(24rem, calc(100vw - 4rem));
    padding: 1.25rem;
    border: 1px solid var(--hm-line, #d5d8df);
    border-radius: var(--hm-radius, 0.75rem);
    background: var(--hm-paper, #fff);
    color: inherit;
  }
  dialog[open] {
    display: grid;
    gap: 0.75rem;
  }
  dialog p {
    margin: 0;
  }
  dialog::backdrop {
    background: rgb(0 0 0 / 50%);
  }
`;
