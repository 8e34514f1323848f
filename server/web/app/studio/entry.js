// <hm-studio-entry section>: loads the studio, which fans never need, and shows it.

import { MoneyElement, html } from "../../elements/money/money_element.js";
import { pageStyles } from "../page_styles.js";

export class StudioEntry extends MoneyElement {
  static properties = { section: {}, isLoaded: { state: true }, error: { state: true } };
  static styles = [...MoneyElement.styles, pageStyles];

  begin(client) {
    super.begin(client);
    this.#load();
  }

  render() {
    if (this.isLoaded) return html`<hm-studio .section=${this.section}></hm-studio>`;
    return html`<main>${this.error ? this.failure(this.error, () => location.reload()) : this.skeleton()}</main>`;
  }

  async #load() {
    try {
      await import("./studio.js");
      this.isLoaded = true;
    } catch (error) {
      this.error = error;
    }
  }
}

customElements.define("hm-studio-entry", StudioEntry);
