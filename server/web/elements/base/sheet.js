// <hm-sheet label open>: a modal dialog, which is a sheet at the bottom of a phone. Fires `dismiss` when it closes.
//
// Parts: dialog, title, content.

import { HalfminuteElement, css, html } from "./element.js";

export class Sheet extends HalfminuteElement {
  static properties = { label: {}, open: { type: Boolean, reflect: true } };
  static styles = [
    HalfminuteElement.styles,
    css`
      :host {
        display: contents;
      }
      dialog {
        box-sizing: border-box;
        width: 100%;
        max-width: 100%;
        max-height: 92dvh;
        margin: auto 0 0;
        padding: 1.25rem 1.25rem max(1.25rem, env(safe-area-inset-bottom));
        border: 0;
        border-radius: 1.25rem 1.25rem 0 0;
        background: var(--hm-paper, #fff);
        color: var(--hm-ink, #16181d);
        overscroll-behavior: contain;
      }
      dialog::backdrop {
        background: rgb(10 12 18 / 55%);
      }
      header {
        display: flex;
        gap: 1rem;
        align-items: center;
        justify-content: space-between;
        margin-block-end: 0.75rem;
      }
      h2 {
        margin: 0;
        font-size: 1.25rem;
        line-height: 1.3;
      }
      header button {
        min-width: 2.75rem;
        padding: 0;
        border-radius: 50%;
        font-size: 1.5rem;
        line-height: 1;
      }
      @media (min-width: 40rem) {
        dialog {
          width: 28rem;
          margin: auto;
          border-radius: 1.25rem;
        }
      }
    `,
  ];

  render() {
    return html`<dialog part="dialog" aria-labelledby="title" @close=${this.#closed} @click=${this.#clicked}>
      <header>
        <h2 id="title" part="title">${this.label}</h2>
        <button class="quiet" type="button" aria-label=${this.t("sheet.close")} @click=${() => this.#dialog.close()}>
          ×
        </button>
      </header>
      <div part="content"><slot></slot></div>
    </dialog>`;
  }

  updated(changed) {
    if (!changed.has("open") || this.#dialog.open === Boolean(this.open)) return;
    if (this.open) this.#dialog.showModal();
    else this.#dialog.close();
  }

  get #dialog() {
    return this.renderRoot.querySelector("dialog");
  }

  #closed() {
    this.open = false;
    this.dispatchEvent(new CustomEvent("dismiss"));
  }

  // A click beside the content, on the backdrop, has the dialog itself as its target.
  #clicked(event) {
    if (event.target !== event.currentTarget) return;
    const { left, right, top, bottom } = this.#dialog.getBoundingClientRect();
    const { clientX: x, clientY: y } = event;
    if (x < left || x > right || y < top || y > bottom) this.#dialog.close();
  }
}

customElements.define("hm-sheet", Sheet);
