// <hm-studio-live>: says that the creator is live, with a link to the stream; empty otherwise.
//
// Property `userId` is the creator's.

import { MoneyElement, css, html, nothing } from "../../elements/money/money_element.js";
import { addressOf } from "../place.js";

const REFRESH_MS = 10_000;

export class StudioLive extends MoneyElement {
  static properties = { userId: { attribute: false }, stream: { state: true } };
  static styles = [
    ...MoneyElement.styles,
    css`
      .notice {
        display: flex;
        flex-wrap: wrap;
        gap: 0 1rem;
        align-items: center;
        justify-content: space-between;
        margin-block-end: 1rem;
        border-inline-start-color: var(--hm-bad, #b3261e);
        overflow-wrap: anywhere;
      }
      a {
        display: inline-grid;
        align-items: center;
        min-height: 2.75rem;
      }
    `,
  ];

  #timer;

  begin(client) {
    super.begin(client);
    this.#read();
    this.#timer = setInterval(() => this.#read(), REFRESH_MS);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.#timer);
  }

  render() {
    return html`<div role="status">${this.stream ? this.#notice() : nothing}</div>`;
  }

  #notice() {
    const { title, viewers } = this.stream;
    return html`<div class="notice">
      <p>
        <strong>${this.t("studio.stream.is.live")}:</strong> ${title} ·
        <span class="tabular">${this.t("studio.stream.viewers", { count: viewers })}</span>
      </p>
      <a href=${addressOf("studio", "streams")}>${this.t("studio.stream.show")}</a>
    </div>`;
  }

  // After a failed request the notice stays as it is until the next one.
  async #read() {
    try {
      const { items } = await this.api.getStreams({ status: "live", creatorId: this.userId, limit: 1 });
      this.stream = items[0];
    } catch {}
  }
}

customElements.define("hm-studio-live", StudioLive);
