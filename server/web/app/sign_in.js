// <hm-sign-in>: chooses a user of the demo. Fires `sign-in` with the chosen user.

import { HalfminuteElement, css, html } from "../elements/base/element.js";
import { noticeStyles } from "../elements/base/notice.js";
import { demoUsers } from "./identity.js";
import { pageStyles } from "./page_styles.js";

export class SignIn extends HalfminuteElement {
  static properties = { users: { state: true }, isFailed: { state: true } };
  static styles = [
    HalfminuteElement.styles,
    pageStyles,
    noticeStyles,
    css`
      ul {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr));
        gap: var(--hm-space, 1rem);
      }
      li.bone {
        height: 10rem;
        margin: 0;
        border-radius: var(--hm-radius, 0.75rem);
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
    if (this.users === null) return this.#elsewhere();
    return html`<main>
      <h1>${this.t("signIn.title")}</h1>
      <p class="quiet-text">${this.t("signIn.about")}</p>
      ${this.#content()}
    </main>`;
  }

  #content() {
    if (this.isFailed) return this.#failure();
    if (this.users === undefined) return this.#waiting();
    return html`<ul>
      ${this.users.map((user) => html`<li>${this.#user(user)}</li>`)}
    </ul>`;
  }

  #elsewhere() {
    return html`<main>
      <h1>${this.t("signIn.heading")}</h1>
      <p>${this.t("signIn.elsewhere")}</p>
    </main>`;
  }

  #failure() {
    return html`<div class="notice bad" role="alert">
      <p>${this.t("signIn.failed")}</p>
      <button class="quiet" @click=${() => this.#read()}>${this.t("retry")}</button>
    </div>`;
  }

  #waiting() {
    return html`<p class="hidden-text" role="status">${this.t("loading")}</p>
      <ul aria-hidden="true">
        ${[1, 2, 3, 4, 5, 6].map(() => html`<li class="bone"></li>`)}
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
    this.isFailed = false;
    try {
      this.users = await demoUsers();
    } catch {
      this.isFailed = true;
    }
  }
}

customElements.define("hm-sign-in", SignIn);
