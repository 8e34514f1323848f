// <hm-operator-users>: finds users by name, e-mail address or id, and lists those who are banned.

import { listView } from "../../elements/base/list_view.js";
import { PagedList } from "../../elements/base/paged_list.js";
import { moment } from "../../elements/base/words.js";
import { MoneyElement, html, nothing } from "../../elements/money/money_element.js";
import { sectionStyles } from "../section_styles.js";
import { userLink } from "./links.js";
import { operatorStyles } from "./styles.js";

const SEARCH_MS = 250; // after the last key
const USER_ID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;

export class OperatorUsers extends MoneyElement {
  static styles = [...MoneyElement.styles, sectionStyles, operatorStyles];

  #wanted = "";
  #timer;
  #users = new PagedList(
    this,
    ({ userId }) => userId,
    () => this.api.getAdminUsers({ limit: 20, ...this.#filter() }),
  );
  #bans = new PagedList(
    this,
    ({ banId }) => banId,
    () => this.api.getAdminBans({ limit: 20 }),
  );

  begin(client) {
    super.begin(client);
    this.#users.load();
    this.#bans.load();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.#timer);
  }

  render() {
    return html`<section class="stack">
        <h2 class="hidden-text">${this.t("operator.users")}</h2>
        <label>
          ${this.t("operator.users.search")}
          <input type="search" maxlength="80" autocomplete="off" @input=${this.#search} />
        </label>
        ${listView(this, this.#users, this.t("operator.users.none"), (items) => this.#items(items))}
      </section>
      <section class="stack">
        <h2>${this.t("operator.bans")}</h2>
        ${listView(this, this.#bans, this.t("operator.bans.none"), (items) => this.#bansView(items))}
      </section>`;
  }

  #items(items) {
    return html`<ul class="list">
      ${items.map(
        ({ userId, displayName, email, isCreator, createdAt }) => html`<li>
          <span>
            ${userLink(userId, displayName)}<br />
            <span class="small quiet-text">${email ? html`<bdi>${email}</bdi> · ` : nothing}${userId}</span>
          </span>
          <span class="end small">
            ${isCreator ? this.t("role.creator") : this.t("role.fan")}<br />
            <span class="quiet-text">${this.t("operator.since", { at: moment(this.language, createdAt) })}</span>
          </span>
        </li>`,
      )}
    </ul>`;
  }

  #bansView(items) {
    return html`<ul class="list">
      ${items.map(
        ({ userId, reason, createdAt, until }) => html`<li>
          <span>${userLink(userId)}<br /><span class="small">${reason}</span></span>
          <span class="end small quiet-text">
            ${moment(this.language, createdAt)}<br />
            ${until ? this.t("operator.until", { at: moment(this.language, until) }) : this.t("operator.endless")}
          </span>
        </li>`,
      )}
    </ul>`;
  }

  #search({ target }) {
    this.#wanted = target.value.trim();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#users.load(), SEARCH_MS);
  }

  #filter() {
    if (!this.#wanted) return {};
    if (USER_ID.test(this.#wanted)) return { userId: this.#wanted };
    return this.#wanted.includes("@") ? { email: this.#wanted } : { name: this.#wanted };
  }
}

customElements.define("hm-operator-users", OperatorUsers);
