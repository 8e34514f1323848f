// <hm-studio-overlay-link>: the address of an overlay, to be copied. Fires `hide` when it is not needed any more.
//
// Property `token` is the made token with its secret, which nothing can show again.

import { MoneyElement, css, html, nothing } from "../../elements/money/money_element.js";
import { sectionStyles } from "../section_styles.js";

export class StudioOverlayLink extends MoneyElement {
  static properties = { token: { attribute: false }, progress: { state: true } };
  static styles = [
    ...MoneyElement.styles,
    sectionStyles,
    css`
      .notice,
      label {
        width: 100%;
      }
      .notice {
        justify-items: stretch;
      }
    `,
  ];

  willUpdate(changed) {
    if (changed.has("token")) this.progress = undefined;
  }

  render() {
    const select = ({ target }) => target.select();
    return html`<div class="notice done">
      <p role="status">${this.t("studio.overlays.once")}</p>
      <label>
        ${this.t("studio.overlays.link", { name: this.token.name })}
        <input readonly .value=${this.#address} @focus=${select} />
      </label>
      <div class="row">
        <button type="button" @click=${this.#copy}>${this.t("studio.overlays.copy")}</button>
        <button type="button" class="quiet" @click=${() => this.tell("hide")}>${this.t("studio.overlays.done")}</button>
        <p class="state" role="status">${this.progress ? this.t(this.progress) : nothing}</p>
      </div>
    </div>`;
  }

  // Behind the # the secret reaches no server and no log.
  get #address() {
    return `${location.origin}/overlay#token=${encodeURIComponent(this.token.secret)}`;
  }

  // Without the right to the clipboard, the link is selected for the keyboard.
  async #copy() {
    try {
      await navigator.clipboard.writeText(this.#address);
      this.progress = "studio.overlays.copied";
    } catch {
      this.renderRoot.querySelector("input").focus();
      this.progress = "studio.overlays.select";
    }
  }
}

customElements.define("hm-studio-overlay-link", StudioOverlayLink);
