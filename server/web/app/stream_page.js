// <hm-stream-page stream>: a stream with tips, its ticket and tokens to buy.

import "../elements/elements.js";
import { HalfminuteElement, html, nothing } from "../elements/base/element.js";
import { pageStyles } from "./page_styles.js";

export class StreamPage extends HalfminuteElement {
  static properties = {
    stream: {},
    userId: { attribute: false }, // of the user of this tab
    creatorId: { state: true }, // of the stream, once it is joined
    isBuying: { state: true },
  };
  static styles = [HalfminuteElement.styles, pageStyles];

  render() {
    return html`<main>
      <hm-stream
        stream=${this.stream}
        @joined=${this.#joined}
        @left=${() => (this.creatorId = undefined)}
        @ticket=${() => this.#dialog.show()}
        @top-up=${() => (this.isBuying = true)}
      >
        ${this.creatorId && this.creatorId !== this.userId ? this.#tip() : nothing}
      </hm-stream>
      <hm-ticket-dialog
        stream=${this.stream}
        @access=${() => this.#stream.load()}
        @join=${() => this.#stream.join()}
      ></hm-ticket-dialog>
      <hm-sheet label=${this.t("buy.title")} .open=${this.isBuying} @dismiss=${() => (this.isBuying = false)}>
        ${this.isBuying ? html`<hm-buy-tokens></hm-buy-tokens>` : nothing}
      </hm-sheet>
    </main>`;
  }

  get #dialog() {
    return this.renderRoot.querySelector("hm-ticket-dialog");
  }

  get #stream() {
    return this.renderRoot.querySelector("hm-stream");
  }

  #tip() {
    return html`<hm-tip-button slot="tip" to-creator-id=${this.creatorId} stream-id=${this.stream}></hm-tip-button>`;
  }

  #joined() {
    this.creatorId = this.#stream.info.creator.userId;
  }
}

customElements.define("hm-stream-page", StreamPage);
