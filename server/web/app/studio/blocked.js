// <hm-studio-blocked>: the users whom the creator has blocked; each can be unblocked.

import { listView } from "../../elements/base/list_view.js";
import { PagedList } from "../../elements/base/paged_list.js";
import { moment } from "../../elements/base/words.js";
import { MoneyElement, css, html, nothing } from "../../elements/money/money_element.js";
import { sectionStyles } from "../section_styles.js";

export class StudioBlocked extends MoneyElement {
  static properties = { sending: { state: true }, error: { state: true } }; // the id of the user who is being unblocked
  static styles = [
    ...MoneyElement.styles,
    sectionStyles,
    css`
      li {
        align-items: center;
        overflow-wrap: anywhere;
      }
    `,
  ];

  #list = new PagedList(
    this,
    ({ userId }) => userId,
    () => this.api.getCreatorsMeBlocks({ limit: 20 }),
  );

  begin(client) {
    super.begin(client);
    this.#list.load();
  }

  render() {
    return html`<section class="stack">
      <h2 class="hidden-text">${this.t("studio.blocked")}</h2>
      <p>${this.t("studio.blocked.about")}</p>
      ${this.error ? this.failure(this.error) : nothing}
      ${listView(this, this.#list, this.t("studio.blocked.empty"), (items) => this.#items(items))}
    </section>`;
  }

  #items(items) {
    return html`<ul class="list">
      ${items.map((user) => html`<li>${this.#user(user)}</li>`)}
    </ul>`;
  }

  #user({ userId, displayName, createdAt }) {
    const name = displayName || this.t("studio.givers.nameless");
    return html`<span>
        <strong><bdi>${name}</bdi></strong><br />
        <span class="small quiet-text">
          ${this.t("studio.blocked.at", { at: moment(this.language, createdAt) })}
        </span>
      </span>
      <button
        type="button"
        class="quiet"
        aria-label=${this.t("studio.unblock.this", { name })}
        aria-disabled=${this.sending === userId}
        @click=${() => this.#unblock(userId)}
      >
        ${this.t("studio.unblock")}
      </button>`;
  }

  async #unblock(userId) {
    if (this.sending) return;
    this.sending = userId;
    this.error = undefined;
    try {
      await this.api.deleteCreatorsMeBlocksUserId({ userId });
    } catch (error) {
      this.error = error;
    }
    await this.#list.reread();
    this.sending = undefined;
  }
}

customElements.define("hm-studio-blocked", StudioBlocked);
