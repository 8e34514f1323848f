// <hm-studio-overlays>: links for overlays in streaming software: one is made, shown once, and revoked here.

import { listView } from "../../elements/base/list_view.js";
import { MoneyElement, css, html, nothing } from "../../elements/money/money_element.js";
import { PagedList } from "../../elements/base/paged_list.js";
import { moment } from "../../elements/base/words.js";
import "./overlay_link.js";
import { sectionStyles } from "../section_styles.js";

const NAME_MAX = 80;

export class StudioOverlays extends MoneyElement {
  static properties = {
    made: { state: true }, // the latest token with its secret, until its link is hidden
    asked: { state: true }, // the id of the token that may be revoked
    isSending: { state: true },
    error: { state: true },
  };
  static styles = [
    ...MoneyElement.styles,
    sectionStyles,
    css`
      form {
        max-width: 36rem;
      }
      li {
        align-items: center;
      }
      li.revoked strong {
        color: var(--hm-quiet, #565e6c);
        font-weight: 400;
      }
      .question {
        grid-column: 1 / -1;
        margin-block-start: 0.5rem;
      }
    `,
  ];

  #list = new PagedList(
    this,
    ({ overlayTokenId }) => overlayTokenId,
    () => this.api.getOverlayTokens({ limit: 20 }),
  );

  begin(client) {
    super.begin(client);
    this.#list.load();
  }

  render() {
    return html`<section class="stack">
      <h2 class="hidden-text">${this.t("studio.overlays")}</h2>
      <p>${this.t("studio.overlays.about")}</p>
      ${this.#form()} ${this.made ? this.#link() : nothing} ${this.error ? this.failure(this.error) : nothing}
      ${listView(this, this.#list, this.t("studio.overlays.empty"), (items) => this.#items(items))}
    </section>`;
  }

  #form() {
    return html`<form class="stack" @submit=${this.#make}>
      <div class="label">
        <label for="name">${this.t("studio.overlays.name")}</label>
        <input id="name" name="name" required maxlength=${NAME_MAX} autocomplete="off" aria-describedby="hint" />
        <span id="hint" class="hint">${this.t("studio.overlays.name.hint")}</span>
      </div>
      <div class="row">
        <button aria-disabled=${Boolean(this.isSending)}>
          ${this.t(this.isSending === "make" ? "studio.overlays.making" : "studio.overlays.make")}
        </button>
      </div>
    </form>`;
  }

  #link() {
    return html`<hm-studio-overlay-link
      .token=${this.made}
      @hide=${() => (this.made = undefined)}
    ></hm-studio-overlay-link>`;
  }

  #items(items) {
    return html`<ul class="list">
      ${items.map((token) => this.#item(token))}
    </ul>`;
  }

  #item(token) {
    const { overlayTokenId: id, name, createdAt, lastUsedAt, revokedAt } = token;
    const at = (text, time) => this.t(text, { at: moment(this.language, time) });
    const state = revokedAt
      ? at("studio.overlays.revoked", revokedAt)
      : lastUsedAt
        ? at("studio.overlays.used", lastUsedAt)
        : this.t("studio.overlays.unused");
    return html`<li class=${revokedAt ? "revoked" : ""}>
      <span>
        <strong>${name}</strong><br />
        <span class="small quiet-text tabular">${at("studio.overlays.made", createdAt)} · ${state}</span>
      </span>
      ${revokedAt || this.asked === id ? nothing : this.#revokeButton(token)}
      ${this.asked === id ? this.#question(token) : nothing}
    </li>`;
  }

  #revokeButton({ overlayTokenId, name }) {
    return html`<button
      type="button"
      class="quiet"
      aria-label=${this.t("studio.overlays.revoke.this", { name })}
      @click=${() => (this.asked = overlayTokenId)}
    >
      ${this.t("studio.overlays.revoke")}
    </button>`;
  }

  #question(token) {
    return html`<div class="question stack">
      <p>${this.t("studio.overlays.sure", { name: token.name })}</p>
      <div class="row">
        <button type="button" aria-disabled=${Boolean(this.isSending)} @click=${() => this.#revoke(token)}>
          ${this.t("studio.overlays.revoke")}
        </button>
        <button type="button" class="quiet" data-focus @click=${() => (this.asked = undefined)}>
          ${this.t("studio.overlays.keep")}
        </button>
      </div>
    </div>`;
  }

  #make(event) {
    event.preventDefault();
    const form = event.target;
    return this.#send("make", async () => {
      this.made = await this.api.postOverlayTokens({ name: form.elements.name.value });
      form.reset();
    });
  }

  #revoke({ overlayTokenId: tokenId }) {
    return this.#send("revoke", async () => {
      await this.api.deleteOverlayTokensTokenId({ tokenId });
      this.asked = undefined;
      if (this.made?.overlayTokenId === tokenId) this.made = undefined;
    });
  }

  // After a lost answer, the list shows whether the request succeeded.
  async #send(name, request) {
    if (this.isSending) return;
    this.isSending = name;
    this.error = undefined;
    try {
      await request();
    } catch (error) {
      this.error = error;
    }
    await this.#list.refresh();
    this.isSending = undefined;
  }
}

customElements.define("hm-studio-overlays", StudioOverlays);
