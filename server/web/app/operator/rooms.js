// <hm-operator-rooms>: the calls and streams that live on this server, newest first, kept fresh while they are shown.

import { listView } from "../../elements/base/list_view.js";
import { PagedList } from "../../elements/base/paged_list.js";
import { moment } from "../../elements/base/words.js";
import { MoneyElement, html } from "../../elements/money/money_element.js";
import { sectionStyles } from "../section_styles.js";
import { userLink } from "./links.js";
import { operatorStyles } from "./styles.js";

const REFRESH_MS = 5000;
const SHOWN = 20;

export class OperatorRooms extends MoneyElement {
  static styles = [...MoneyElement.styles, sectionStyles, operatorStyles];

  #timer;
  #list = new PagedList(
    this,
    ({ roomId }) => roomId,
    () => this.api.getAdminRooms({ limit: SHOWN }),
  );

  begin(client) {
    super.begin(client);
    this.#list.load();
    this.#timer = setInterval(() => this.#refresh(), REFRESH_MS);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.#timer);
  }

  render() {
    return html`<section class="stack">
      <h2>${this.t("operator.rooms")}</h2>
      ${listView(this, this.#list, this.t("operator.rooms.empty"), (items) => this.#items(items))}
    </section>`;
  }

  #items(items) {
    return html`<ul class="list">
      ${items.map((room) => html`<li>${this.#item(room)}</li>`)}
    </ul>`;
  }

  #item({ call, stream }) {
    if (call) return this.#call(call);
    if (stream) return this.#stream(stream);
    return html`<span class="quiet-text">${this.t("operator.rooms.restarting")}</span>`;
  }

  #call({ fan, creator, status, createdAt, tokens, blocks }) {
    return html`<span>
        ${userLink(fan.userId, fan.displayName)} → ${userLink(creator.userId, creator.displayName)}<br />
        <span class="small quiet-text">${this.t(`operator.call.${status}`)} · ${moment(this.language, createdAt)}</span>
      </span>
      <span class="end tabular">
        ${this.tokens(tokens)}<br />
        <span class="small quiet-text">${this.t("operator.rooms.blocks", { count: blocks })}</span>
      </span>`;
  }

  #stream({ creator, title, startedAt, createdAt, viewers }) {
    return html`<span>
        <bdi>${title}</bdi>, ${userLink(creator.userId, creator.displayName)}<br />
        <span class="small quiet-text">
          ${this.t("operator.rooms.stream")} · ${moment(this.language, startedAt ?? createdAt)}
        </span>
      </span>
      <span class="end tabular">${this.t("operator.rooms.viewers", { count: viewers })}</span>`;
  }

  // A list of which more was asked for stays as it is: it would lose what the operator looks at.
  #refresh() {
    if (!this.#list.isBusy && this.#list.items.length <= SHOWN) this.#list.reread();
  }
}

customElements.define("hm-operator-rooms", OperatorRooms);
