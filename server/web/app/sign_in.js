// <hm-sign-in>: chooses a user of the demo. Fires `sign-in` with the chosen user.

import { HalfminuteElement, css, html } from "../elements/base/element.js";
import { demoUsers } from "./identity.js";
import { pageStyles } from "./page_styles.js";

export class SignIn extends HalfminuteElement {
  static properties = { users: { state: true }, error: { state: true } };
  static styles = [
    HalfminuteElement.styles,
    pageStyles,
    css`
      ul {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr));
        gap: var(--hm-space, 1rem);
      }
      button.user {
        display: grid;
        justify-items: center;
        width: 100%;
        height: 100%;
        align-content: start;
        gap: 0.25rem;
        padding: 1rem;
        background: var(--hm-panel, #f4f5f8);
        color: inherit;
      }
      button.user .small {
        font-weight: 400;
      }
      button.user img {
        width: 5rem;
        height: 5rem;
        border-radius: 50%;
      }
    `,
  ];

  connectedCallback() {
    super.connectedCallback();
    this.#read();
  }

  render() {
    return html`<main>
      <h1>${this.t("signIn.title")}</h1>
      <p class="quiet-text">${this.t("signIn.about")}</p>
      ${this.#content()}
    </main>`;
  }

  #content() {
    if (this.error) {
      return html`<div role="alert">
        <p>${this.t("failed", { reason: this.error.message })}</p>
        <button class="quiet" @click=${() => this.#read()}>${this.t("retry")}</button>
      </div>`;
    }
    if (this.users === undefined) return html`<p role="status">${this.t("loading")}</p>`;
    if (this.users === null) return html`<p>${this.t("signIn.elsewhere")}</p>`;
    return html`<ul>
      ${this.users.map((user) => html`<li>${this.#user(user)}</li>`)}
    </ul>`;
  }

  #user(user) {
    return html`<button class="user" @click=${() => this.tell("sign-in", user)}>
      <img src=${user.pictureUrl} alt="" width="80" height="80" />
      <span>${user.displayName}</span>
      <span class="quiet-text small">
        ${this.t(`role.${user.role}`)}${user.automatic ? html`<br />${this.t("signIn.automatic")}` : ""}
      </span>
    </button>`;
  }

  async #read() {
    this.error = undefined;
    try {
      this.users = await demoUsers();
    } catch (error) {
      this.error = error;
    }
  }
}

customElements.define("hm-sign-in", SignIn);
