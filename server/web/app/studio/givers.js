// <hm-studio-givers>: the fans that tip a creator most, net of refunds.
//
// Property `userId` is the creator's.

import { Reading } from "../../elements/base/reading.js";
import { MoneyElement, html, nothing } from "../../elements/money/money_element.js";
import { latestDays } from "../days.js";
import { sectionStyles } from "../section_styles.js";

const DAYS = 30;
const SHOWN = 10; // until all are asked for

export class StudioGivers extends MoneyElement {
  static properties = {
    userId: { attribute: false },
    isRecent: { state: true }, // whether only the latest days count
    isWhole: { state: true },
  };
  static styles = [...MoneyElement.styles, sectionStyles];

  #givers = new Reading(this, () => this.#read());

  begin(client) {
    super.begin(client);
    this.#givers.start();
  }

  render() {
    return html`<section class="stack">
      <div class="row apart">
        <h2>${this.t("studio.givers")}</h2>
        <div class="row" role="group" aria-label=${this.t("studio.earnings.period")}>
          ${this.#period(this.t("studio.givers.all"), false)}
          ${this.#period(this.t("studio.earnings.count", { count: DAYS }), true)}
        </div>
      </div>
      ${this.#givers.view((givers) => this.#content(givers), 4)}
    </section>`;
  }

  #period(text, isRecent) {
    const isShown = Boolean(this.isRecent) === isRecent;
    return html`<button type="button" class="quiet" aria-pressed=${isShown} @click=${() => this.#show(isRecent)}>
      ${text}
    </button>`;
  }

  #content(givers) {
    if (!givers.length) return html`<p class="quiet-text">${this.t("studio.givers.empty")}</p>`;
    const shown = this.isWhole ? givers : givers.slice(0, SHOWN);
    return html`<table>
        <thead>
          <tr>
            <th scope="col">${this.t("studio.givers.name")}</th>
            <th scope="col" class="end">${this.t("studio.givers.tips")}</th>
            <th scope="col" class="end">${this.t("ledger.tokens")}</th>
          </tr>
        </thead>
        <tbody>
          ${shown.map((giver) => this.#row(giver))}
        </tbody>
      </table>
      ${shown.length < givers.length ? this.#more(givers.length) : nothing}`;
  }

  #row({ displayName, tips, tokens }) {
    const format = new Intl.NumberFormat(this.language);
    return html`<tr>
      <th scope="row">${displayName || this.t("studio.givers.nameless")}</th>
      <td>${format.format(tips)}</td>
      <td>${format.format(tokens)}</td>
    </tr>`;
  }

  #more(count) {
    return html`<button type="button" class="quiet" @click=${() => (this.isWhole = true)}>
      ${this.t("studio.givers.more", { count })}
    </button>`;
  }

  #show(isRecent) {
    this.isRecent = isRecent;
    this.#givers.start();
  }

  // The period begins with a day of the reader's time zone.
  async #read() {
    const from = this.isRecent ? new Date(`${latestDays(DAYS)[0]}T00:00`).toISOString() : undefined;
    return (await this.api.getTipsLeaderboard({ creatorId: this.userId, from })).items;
  }
}

customElements.define("hm-studio-givers", StudioGivers);
