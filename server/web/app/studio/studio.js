// <hm-studio section>: the place of a creator: whether calls are accepted, profile, streams, earnings, overlays.
//
// A user who is no creator yet becomes one here. Fires `creator-saved` with the card after each change of it.

import { MoneyElement, css, html, nothing } from "../../elements/money/money_element.js";
import "../../elements/money/payouts.js";
import { addTexts } from "../../elements/base/words.js";
import { pageStyles } from "../page_styles.js";
import { sectionStyles } from "../section_styles.js";
import { menuStyles, sectionMenu, showPresentLink } from "../section_menu.js";
import "./availability.js";
import "./blocked.js";
import "./earnings.js";
import { ENGLISH } from "./english.js";
import { GERMAN } from "./german.js";
import "./givers.js";
import "./live.js";
import "./month.js";
import "./overlays.js";
import "./profile.js";
import "./streams.js";

addTexts({ en: ENGLISH, de: GERMAN });

const SECTIONS = {
  profile: "studio.profile",
  streams: "studio.streams",
  earnings: "studio.earnings",
  payouts: "studio.payouts",
  overlays: "studio.overlays",
  blocked: "studio.blocked",
};

export class Studio extends MoneyElement {
  static properties = {
    section: {},
    card: { state: true }, // of the creator; null for a user who is none, undefined until it is known
    name: { state: true }, // of the user
    error: { state: true },
  };
  static styles = [
    ...MoneyElement.styles,
    pageStyles,
    sectionStyles,
    menuStyles,
    css`
      :is(hm-studio-month, hm-studio-givers) {
        margin-block-start: 2.5rem;
      }
    `,
  ];

  begin(client) {
    super.begin(client);
    this.#read();
  }

  updated() {
    showPresentLink(this);
  }

  render() {
    return html`<main @creator-saved=${({ detail }) => (this.card = detail)}>
      <h1>${this.t("studio.title")}</h1>
      ${this.#content()}
    </main>`;
  }

  #content() {
    if (this.error) return this.failure(this.error, () => this.#read());
    if (this.card === undefined) return this.skeleton();
    if (this.card === null) return this.#welcome();
    return html`${this.#live()} <hm-studio-availability .card=${this.card}></hm-studio-availability>
      ${this.#menu()} ${this.#sectionView()}`;
  }

  #welcome() {
    return html`<p class="quiet-text">${this.t("studio.welcome")}</p>
      <hm-studio-profile .name=${this.name} .card=${null}></hm-studio-profile>`;
  }

  #live() {
    if (this.#shown === "streams") return nothing;
    return html`<hm-studio-live .userId=${this.card.userId}></hm-studio-live>`;
  }

  get #shown() {
    return Object.hasOwn(SECTIONS, this.section ?? "") ? this.section : "profile";
  }

  #menu() {
    return sectionMenu(this, "studio", SECTIONS, this.#shown, this.t("studio.menu"));
  }

  #payouts() {
    return html`<h2 class="hidden-text">${this.t("studio.payouts")}</h2>
      <hm-payouts></hm-payouts>`;
  }

  // The profile stays, so that a look at another section loses no unsaved change.
  #sectionView() {
    const shown = this.#shown;
    return html`<hm-studio-profile ?hidden=${shown !== "profile"} .card=${this.card}></hm-studio-profile>
      ${shown === "streams" ? html`<hm-studio-streams .userId=${this.card.userId}></hm-studio-streams>` : nothing}
      ${shown === "earnings" ? this.#earnings() : nothing}
      ${shown === "payouts" ? this.#payouts() : nothing}
      ${shown === "overlays" ? html`<hm-studio-overlays></hm-studio-overlays>` : nothing}
      ${shown === "blocked" ? html`<hm-studio-blocked></hm-studio-blocked>` : nothing}`;
  }

  #earnings() {
    return html`<hm-studio-earnings></hm-studio-earnings>
      <hm-studio-month></hm-studio-month>
      <hm-studio-givers .userId=${this.card.userId}></hm-studio-givers>`;
  }

  async #read() {
    this.error = undefined;
    try {
      const { user } = await this.api.getMe();
      this.name = user.displayName;
      this.card = user.isCreator ? await this.api.getCreatorsUserId({ userId: user.userId }) : null;
    } catch (error) {
      this.error = error;
    }
  }
}

customElements.define("hm-studio", Studio);
