// <hm-call-page creator>: a call with a creator, or the incoming call of the property `call`, with tips and tokens to buy.
//
// Fires `call-closed` when an ended call is put away.

import "../elements/elements.js";
import { HalfminuteElement, html, nothing } from "../elements/base/element.js";
import { noticeStyles, regionView } from "../elements/base/notice.js";
import { pageStyles } from "./page_styles.js";

const RUNNING = ["incoming", "outgoing", "joining", "live"];

export class CallPage extends HalfminuteElement {
  static properties = {
    creator: {},
    call: { attribute: false },
    callId: { state: true }, // of the running call of a fan
    isBuying: { state: true },
    isEnded: { state: true }, // whether the call ended while tokens were bought
  };
  static styles = [HalfminuteElement.styles, pageStyles, noticeStyles];

  /** Whether a call rings or runs, which would end if the page went away. */
  get isBusy() {
    return RUNNING.includes(this.renderRoot.querySelector("hm-call")?.phase);
  }

  willUpdate(changed) {
    const { call } = this;
    if (changed.has("call") && call?.startedAt && !call.isOver) this.callId = call.id;
  }

  render() {
    return html`<main>
      <hm-call
        creator=${this.creator ?? nothing}
        .call=${this.call}
        @call-started=${({ detail }) => (this.callId = detail.callId)}
        @call-ended=${this.#end}
        @top-up=${this.#buy}
      >
        ${this.callId ? this.#tip() : nothing}
      </hm-call>
      <hm-sheet label=${this.t("buy.title")} .open=${this.isBuying} @dismiss=${() => (this.isBuying = false)}>
        ${regionView(this.isBuying && this.isEnded ? html`<p>${this.t("call.ended.meanwhile")}</p>` : nothing)}
        ${this.isBuying ? html`<hm-buy-tokens></hm-buy-tokens>` : nothing}
      </hm-sheet>
    </main>`;
  }

  #end() {
    this.callId = undefined;
    this.isEnded = true;
  }

  #buy() {
    this.isBuying = true;
    this.isEnded = false;
  }

  #tip() {
    return html`<hm-tip-button slot="tip" to-creator-id=${this.creator} call-id=${this.callId}></hm-tip-button>`;
  }
}

customElements.define("hm-call-page", CallPage);
