// <hm-operator section detail>: the place of operators: load, decisions, users, reports, accounts, and what was done.

import { addTexts } from "../../elements/base/words.js";
import { MoneyElement, css, html, nothing } from "../../elements/money/money_element.js";
import { pageStyles } from "../page_styles.js";
import { menuStyles, sectionMenu, showPresentLink } from "../section_menu.js";
import { sectionStyles } from "../section_styles.js";
import "./accounts.js";
import "./actions.js";
import "./decisions.js";
import { ENGLISH } from "./english.js";
import { GERMAN } from "./german.js";
import "./load.js";
import "./reports.js";
import "./rooms.js";
import "./user.js";
import "./users.js";

addTexts({ en: ENGLISH, de: GERMAN });

const SECTIONS = {
  load: "operator.load",
  decisions: "operator.decisions",
  users: "operator.users",
  reports: "operator.reports",
  accounts: "operator.accounts",
  actions: "operator.actions",
};

export class Operator extends MoneyElement {
  static properties = { section: {}, detail: {} };
  static styles = [
    ...MoneyElement.styles,
    pageStyles,
    sectionStyles,
    menuStyles,
    css`
      hm-operator-rooms {
        margin-block-start: 2.5rem;
      }
    `,
  ];

  updated() {
    showPresentLink(this);
  }

  render() {
    return html`<main>
      <h1>${this.t("operator.title")}</h1>
      ${this.#content()}
    </main>`;
  }

  #content() {
    const { user, error } = this.account ?? {};
    if (!user) return error ? this.failure(error, () => this.account.read()) : this.skeleton();
    if (!user.isOperator) return html`<p role="alert">${this.t("operator.forbidden")}</p>`;
    const shown = Object.hasOwn(SECTIONS, this.section ?? "") ? this.section : "load";
    return html`${sectionMenu(this, "operator", SECTIONS, shown, this.t("operator.menu"))} ${this.#sectionView(shown)}`;
  }

  #sectionView(shown) {
    if (shown === "load") return html`<hm-operator-load></hm-operator-load><hm-operator-rooms></hm-operator-rooms>`;
    if (shown === "decisions") return html`<hm-operator-decisions></hm-operator-decisions>`;
    if (shown === "users" && this.detail) return html`<hm-operator-user .userId=${this.detail}></hm-operator-user>`;
    if (shown === "users") return html`<hm-operator-users></hm-operator-users>`;
    if (shown === "reports") return html`<hm-operator-reports></hm-operator-reports>`;
    if (shown === "accounts") return html`<hm-operator-accounts></hm-operator-accounts>`;
    return shown === "actions" ? html`<hm-operator-actions></hm-operator-actions>` : nothing;
  }
}

customElements.define("hm-operator", Operator);
