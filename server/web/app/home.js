// <hm-home>: creators and streams, kept fresh while it is shown.

import { HalfminuteElement, css, html, nothing } from "../elements/base/element.js";
import { isLoss } from "../elements/base/faults.js";
import { noticeStyles, noticeView } from "../elements/base/notice.js";
import "./creator_card.js";
import { pageStyles } from "./page_styles.js";
import { addressOf } from "./place.js";

const REFRESH_MS = 10_000;
const SEARCH_MS = 250; // after the last key
const STEP = 24; // creators that are shown at first, and that each press of the button adds
const MOST = 96; // creators, since a page has at most 100; a search finds the others

export class Home extends HalfminuteElement {
  static properties = {
    userId: { attribute: false }, // of the user of this tab
    isCreator: { attribute: false }, // undefined until it is known
    creators: { state: true },
    total: { state: true }, // of all creators who are found
    streams: { state: true },
    error: { state: true },
    name: { state: true },
    shown: { state: true }, // creators at most
  };
  static styles = [
    HalfminuteElement.styles,
    pageStyles,
    noticeStyles,
    css`
      ul.cards {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr));
        gap: var(--hm-space, 1rem);
      }
      .foot {
        display: flex;
        flex-wrap: wrap;
        gap: 0.5rem;
        align-items: center;
        justify-content: space-between;
        margin-block-start: 1rem;
      }
      input {
        width: 100%;
        min-height: 2.75rem;
        padding: 0 0.75rem;
        border: 1px solid var(--hm-quiet, #565e6c);
        border-radius: var(--hm-radius, 0.75rem);
        background: var(--hm-paper, #fff);
        color: inherit;
        font: inherit;
      }
      .streams li {
        display: flex;
        flex-wrap: wrap;
        gap: 0.25rem 1rem;
        align-items: baseline;
        justify-content: space-between;
        padding: 0.75rem 0;
        border-block-end: 1px solid var(--hm-line, #d5d8df);
        overflow-wrap: anywhere;
      }
      .notice {
        margin-block: 1rem;
      }
      li.bone {
        height: 9rem;
        margin: 0;
        border-radius: var(--hm-radius, 0.75rem);
      }
      @media (max-width: 30rem) {
        .streams li {
          display: grid;
        }
      }
      .live {
        color: var(--hm-bad, #b3261e);
        font-weight: 600;
      }
    `,
  ];

  #api;
  #timer;
  #reading = 0;

  constructor() {
    super();
    this.name = "";
    this.shown = STEP;
  }

  begin(client) {
    this.#api = client.rest;
    this.#read();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.#timer);
    this.#reading++;
  }

  render() {
    return html`<main>
      <h1>${this.t("home.title")}</h1>
      <label>
        <span class="small quiet-text">${this.t("home.search")}</span>
        <input type="search" maxlength="80" autocomplete="off" .value=${this.name} @input=${this.#search} />
      </label>
      ${this.#content()}
      ${this.isCreator === false ? this.#invitation() : nothing}
    </main>`;
  }

  // Without a connection, what was read before stays, and the menu says so.
  #content() {
    if (this.error && !this.creators) return noticeView(this, this.error, () => this.#read());
    return html`${this.error && !isLoss(this.error) ? noticeView(this, this.error, () => this.#read()) : nothing}
      <h2>${this.t("home.creators")}</h2>
      ${this.#creators()}
      <h2>${this.t("home.streams")}</h2>
      ${this.#streams()}`;
  }

  #invitation() {
    return html`<p><a href=${addressOf("studio")}>${this.t("home.become")}</a></p>`;
  }

  #creators() {
    if (!this.creators) return this.#waiting();
    if (!this.creators.length) return html`<p class="quiet-text">${this.t(this.#emptiness)}</p>`;
    return html`<ul class="cards">
      ${this.creators.map(
        (creator) => html`<li>
          <hm-creator-card .creator=${creator} ?own=${creator.userId === this.userId}></hm-creator-card>
        </li>`,
      )}
    </ul>
    ${this.#foot()}`;
  }

  #foot() {
    if (this.creators.length === this.total) return nothing;
    return html`<div class="foot">
      <span class="quiet-text small tabular">
        ${this.t("list.shown", { shown: this.creators.length, total: this.total })}
      </span>
      ${this.shown < MOST
        ? html`<button class="quiet" type="button" @click=${this.#showMore}>${this.t("list.more")}</button>`
        : nothing}
    </div>`;
  }

  get #emptiness() {
    return this.name.trim() ? "home.nobodyFound" : "home.noCreators";
  }

  #waiting() {
    return html`<ul class="cards" aria-hidden="true">
      ${[1, 2, 3].map(() => html`<li class="bone"></li>`)}
    </ul>`;
  }

  #streams() {
    if (!this.streams) return this.skeleton();
    if (!this.streams.length) return html`<p class="quiet-text">${this.t("home.noStreams")}</p>`;
    return html`<ul class="streams">
      ${this.streams.map((stream) => html`<li>${this.#stream(stream)}</li>`)}
    </ul>`;
  }

  #stream({ id, title, status, creator, ticketPriceTokens, rateTokensPerMin }) {
    const prices = [
      ticketPriceTokens ? this.t("home.stream.ticket", { tokens: ticketPriceTokens }) : "",
      rateTokensPerMin ? this.t("card.rate", { tokens: rateTokensPerMin }) : "",
    ].filter(Boolean);
    const live = status === "live";
    return html`<span>
        <a href=${addressOf("stream", id)}>${title}</a>
        <span class="quiet-text">${this.t("home.stream.by", { name: creator.displayName })}</span>
      </span>
      <span class="small tabular">
        <span class=${live ? "live" : "quiet-text"}>${this.t(live ? "home.stream.live" : "home.stream.coming")}</span>
        · ${prices.join(" + ") || this.t("home.stream.free")}
      </span>`;
  }

  #showMore() {
    this.shown += STEP;
    this.#read();
  }

  #search(event) {
    this.name = event.target.value;
    this.shown = STEP;
    this.#readLater(SEARCH_MS);
  }

  #readLater(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#read(), ms);
  }

  // Only the answers to the latest reading are shown.
  async #read() {
    const reading = ++this.#reading;
    try {
      const [creators, live, coming] = await Promise.all([
        this.#creatorsFound(),
        this.#api.getStreams({ status: "live" }),
        this.#api.getStreams({ status: "scheduled" }),
      ]);
      if (reading !== this.#reading) return;
      this.creators = creators.items;
      this.total = creators.total;
      this.streams = [...live.items, ...coming.items];
      this.error = undefined;
    } catch (error) {
      if (reading !== this.#reading) return;
      this.error = error;
    }
    this.#readLater(REFRESH_MS);
  }

  // Those who can be called come first, then those who are busy, then those who are offline.
  async #creatorsFound() {
    const name = this.name.trim();
    const wanted = { limit: this.shown, ...(name && { name }) };
    const [online, offline] = await Promise.all(
      ["online", "offline"].map((presence) => this.#api.getCreators({ ...wanted, presence })),
    );
    const near = online.items.toSorted((one, other) => one.busy - other.busy);
    return { items: [...near, ...offline.items].slice(0, this.shown), total: online.total + offline.total };
  }
}

customElements.define("hm-home", Home);
