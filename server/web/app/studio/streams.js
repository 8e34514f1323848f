// <hm-studio-streams>: the streams of a creator, kept fresh while they are shown, and a form that announces one.
//
// Property `userId` is the creator's.

import { listView } from "../../elements/base/list_view.js";
import { MoneyElement, css, html } from "../../elements/money/money_element.js";
import { PagedList } from "../../elements/base/paged_list.js";
import "./announcement.js";
import "./stream.js";
import { sectionStyles } from "../section_styles.js";

const REFRESH_MS = 10_000;

export class StudioStreams extends MoneyElement {
  static properties = { userId: { attribute: false }, timings: { state: true } };
  static styles = [
    ...MoneyElement.styles,
    sectionStyles,
    css`
      ul {
        display: grid;
        gap: 0.75rem;
        list-style: none;
      }
    `,
  ];

  #timer;
  #isStale = false; // something changed while the list was being read
  #list = new PagedList(
    this,
    ({ id }) => id,
    () => this.api.getStreams({ creatorId: this.userId, limit: 10 }),
  );

  begin(client) {
    super.begin(client);
    this.#list.load();
    this.#timer = setInterval(() => this.#refresh(), REFRESH_MS);
    this.#readTimings();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.#timer);
  }

  updated() {
    if (this.#isStale && !this.#list.isBusy) this.#refresh();
  }

  render() {
    return html`<section class="stack" @streams-changed=${() => this.#refresh()}>
        <h2>${this.t("studio.streams.own")}</h2>
        ${listView(this, this.#list, this.t("studio.streams.empty"), (items) => this.#items(items))}
      </section>
      <section>
        <hm-studio-announcement @streams-changed=${() => this.#refresh()}></hm-studio-announcement>
      </section>`;
  }

  #items(items) {
    const order = ({ status }) => ["live", "scheduled", "ended"].indexOf(status);
    return html`<ul>
      ${items
        .toSorted((one, other) => order(one) - order(other))
        .map(
          (stream) => html`<li data-id=${stream.id}>
            <hm-studio-stream .stream=${stream} .timings=${this.timings}></hm-studio-stream>
          </li>`,
        )}
    </ul>`;
  }

  #refresh() {
    this.#isStale = this.#list.isBusy;
    if (!this.#isStale) this.#list.refresh();
  }

  async #readTimings() {
    this.timings = (await this.api.getConfig().catch(() => undefined))?.timings;
  }
}

customElements.define("hm-studio-streams", StudioStreams);
