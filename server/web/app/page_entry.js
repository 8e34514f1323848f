// <hm-page-entry page section detail>: loads a page that most users never see, the studio or the operator's, and shows it.

import { MoneyElement, html } from "../elements/money/money_element.js";
import { pageStyles } from "./page_styles.js";

const MODULES = {
  studio: () => import("./studio/studio.js"),
  operator: () => import("./operator/operator.js"),
};

export class PageEntry extends MoneyElement {
  static properties = { page: {}, section: {}, detail: {}, loaded: { state: true }, error: { state: true } };
  static styles = [...MoneyElement.styles, pageStyles];

  willUpdate(changed) {
    if (changed.has("page")) this.#load();
  }

  render() {
    if (this.loaded !== this.page) {
      return html`<main>${this.error ? this.failure(this.error, () => location.reload()) : this.skeleton()}</main>`;
    }
    if (this.page === "studio") return html`<hm-studio .section=${this.section}></hm-studio>`;
    return html`<hm-operator .section=${this.section} .detail=${this.detail}></hm-operator>`;
  }

  async #load() {
    const { page } = this;
    try {
      await MODULES[page]();
      this.loaded = page;
    } catch (error) {
      this.error = error;
    }
  }
}

customElements.define("hm-page-entry", PageEntry);
