// The base of all elements: the client, texts in the page's language, and the theme's parts that all of them use.

import { LitElement, css, html } from "../../vendor/lit/index.js";
import { clientOf } from "./client.js";
import { languageOf, phrase } from "./words.js";

export * from "../../vendor/lit/index.js";

export class HalfminuteElement extends LitElement {
  static properties = { client: { attribute: false }, lang: {} };

  static styles = css`
    :host {
      display: block;
      color: var(--hm-ink, #16181d);
      font: var(--hm-font, 1rem/1.5 system-ui, sans-serif);
    }
    :host([hidden]) {
      display: none;
    }
    button {
      min-height: 2.75rem;
      padding: 0.5rem 1rem;
      border: 1px solid transparent;
      border-radius: var(--hm-radius, 0.75rem);
      background: var(--hm-accent, #4a3fd6);
      color: var(--hm-on-accent, #fff);
      font: inherit;
      font-weight: 600;
      line-height: 1.3;
      cursor: pointer;
    }
    button.quiet {
      border-color: var(--hm-line, #d5d8df);
      background: transparent;
      color: inherit;
    }
    button:disabled {
      opacity: 0.55;
      cursor: default;
    }
    :focus-visible {
      outline: 3px solid var(--hm-focus, #4a3fd6);
      outline-offset: 2px;
    }
    .tabular {
      font-variant-numeric: tabular-nums;
    }
    .quiet-text {
      color: var(--hm-quiet, #5b6270);
    }
    .hidden-text {
      position: absolute;
      overflow: hidden;
      width: 1px;
      height: 1px;
      clip-path: inset(50%);
      white-space: nowrap;
    }
    .bone {
      height: 1.25rem;
      margin-block: 0.5rem;
      border-radius: 0.5rem;
      background: var(--hm-line, #d5d8df);
      opacity: 0.6;
    }
    .lines > .bone:nth-child(even) {
      width: 70%;
    }
    @media (prefers-reduced-motion: reduce) {
      * {
        animation: none !important;
        transition: none !important;
      }
    }
  `;

  connectedCallback() {
    super.connectedCallback();
    this.#begin();
  }

  /** Called with the client each time the element is connected to a page and has one. */
  begin(client) {}

  /** Lines in the place of what is being read. */
  skeleton(lines = 3) {
    return html`<div role="status" part="skeleton">
      <span class="hidden-text">${this.t("loading")}</span>
      <div class="lines" aria-hidden="true">
        ${Array.from({ length: lines }, () => html`<div class="bone"></div>`)}
      </div>
    </div>`;
  }

  /** A text of the catalogue in the element's language; `values` fill its gaps. */
  t(name, values) {
    return phrase(languageOf(this), name, values);
  }

  /** Dispatches an event that crosses shadow roots. */
  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }

  async #begin() {
    const client = await clientOf(this);
    if (this.isConnected) this.begin(client);
  }
}
