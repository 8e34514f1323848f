// <hm-studio-profile>: the rate of a creator and what a block costs at it, name, about and picture.
//
// Property `card` is the creator's, or null for a user who is none yet; `name` is the name to begin with. Fires
// `creator-saved` with the new card.

import { MoneyElement, css, html, nothing } from "../../elements/money/money_element.js";
import { sectionStyles } from "../section_styles.js";

const FIELDS = ["rateTokensPerMin", "displayName", "about", "pictureUrl"];
const NAME_MAX = 80;
const TEXT_MAX = 500; // characters of the text about a creator, and of the address of a picture
const RATE = 60; // tokens a minute, which a new creator may change before the first save

export class StudioProfile extends MoneyElement {
  static properties = {
    card: { attribute: false },
    name: { attribute: false },
    changes: { state: true }, // the fields that differ from the card
    blockSeconds: { state: true },
    isSaving: { state: true },
    isSaved: { state: true },
    error: { state: true },
  };
  static styles = [
    ...MoneyElement.styles,
    sectionStyles,
    css`
      form {
        max-width: 36rem;
      }
      textarea {
        min-height: 6rem;
        resize: vertical;
      }
      img {
        width: 4rem;
        height: 4rem;
        border-radius: 50%;
        object-fit: cover;
      }
    `,
  ];

  constructor() {
    super();
    this.changes = {};
  }

  begin(client) {
    super.begin(client);
    this.#readConfig();
  }

  render() {
    return html`<form class="stack" novalidate @submit=${this.#submit} @input=${this.#input}>
      <h2 class=${this.card ? "hidden-text" : ""}>${this.t(this.card ? "studio.profile" : "studio.become")}</h2>
      ${this.#rate()} ${this.#name()} ${this.#about()} ${this.#picture()}
      <div class="row">
        <button aria-disabled=${Boolean(this.isSaving) || !this.#isChanged}>${this.#action()}</button>
        ${this.#state()}
      </div>
      ${this.error && !this.#faults.length ? this.failure(this.error) : nothing}
    </form>`;
  }

  #action() {
    return this.t(this.card ? "studio.save" : "studio.become");
  }

  #state() {
    const [kind, text] = this.#progress();
    return html`<p class="state ${kind}" role="status">${text ? this.t(text) : nothing}</p>`;
  }

  #progress() {
    if (this.isSaving) return ["", "studio.saving"];
    if (this.#faults.length) return ["warn", "studio.refused"];
    if (this.card && this.#isChanged) return ["warn", "studio.unsaved"];
    return this.isSaved ? ["good", "studio.saved"] : ["", ""];
  }

  #rate() {
    const rate = this.#value("rateTokensPerMin");
    return this.#field("rateTokensPerMin", this.t("studio.rate"), this.#blockCost(rate), (rest) => {
      return html`<input
        type="number"
        inputmode="numeric"
        min="1"
        step="1"
        name="rateTokensPerMin"
        .value=${`${rate || ""}`}
        id="rateTokensPerMin"
        aria-invalid=${rest.isWrong}
        aria-describedby="rateTokensPerMin-hint"
      />`;
    });
  }

  #blockCost(rate) {
    const seconds = this.blockSeconds;
    if (!seconds) return nothing;
    if (!(rate > 0)) return this.t("studio.block.none");
    return this.t("studio.block", { seconds, cost: this.tokens(Math.ceil((rate * seconds) / 60)) });
  }

  #name() {
    return this.#field("displayName", this.t("studio.name"), this.t("studio.name.hint"), (rest) => {
      return html`<input
        name="displayName"
        maxlength=${NAME_MAX}
        autocomplete="nickname"
        .value=${this.#value("displayName")}
        id="displayName"
        aria-invalid=${rest.isWrong}
        aria-describedby="displayName-hint"
      />`;
    });
  }

  #about() {
    const left = TEXT_MAX - this.#value("about").length;
    return this.#field("about", this.t("studio.about"), this.t("studio.about.left", { left }), (rest) => {
      return html`<textarea
        name="about"
        rows="3"
        maxlength=${TEXT_MAX}
        .value=${this.#value("about")}
        id="about"
        aria-invalid=${rest.isWrong}
        aria-describedby="about-hint"
      ></textarea>`;
    });
  }

  #picture() {
    const hint = this.t("studio.picture.hint");
    return html`${this.#field("pictureUrl", this.t("studio.picture"), hint, (rest) => {
      return html`<input
        name="pictureUrl"
        inputmode="url"
        maxlength=${TEXT_MAX}
        autocomplete="off"
        .value=${this.#value("pictureUrl")}
        id="pictureUrl"
        aria-invalid=${rest.isWrong}
        aria-describedby="pictureUrl-hint"
      />`;
    })}
    ${this.card?.pictureUrl ? html`<img src=${this.card.pictureUrl} alt=${this.t("studio.picture.now")} />` : nothing}`;
  }

  // The hint is told with the field, and so is the reason for which the server refused its content.
  #field(name, label, hint, control) {
    const reason = this.#faults.find(({ field }) => field === name)?.reason;
    return html`<div class="label">
      <label for=${name}>${label}</label>
      ${control({ isWrong: Boolean(reason) })}
      <span id="${name}-hint" class="hint tabular">
        ${hint} ${reason ? html`<strong class="fault">${this.t("studio.fault", { reason })}</strong>` : nothing}
      </span>
    </div>`;
  }

  #value(name) {
    if (name in this.changes) return this.changes[name];
    return this.#stored(name);
  }

  #stored(name) {
    const first = { rateTokensPerMin: RATE, displayName: this.name ?? "", about: "", pictureUrl: "" };
    return (this.card ?? first)[name];
  }

  get #isChanged() {
    return !this.card || Object.keys(this.changes).length > 0;
  }

  get #faults() {
    return (this.error?.problem?.errors ?? []).filter(({ field }) => FIELDS.includes(field));
  }

  #input({ target }) {
    const value = target.type === "number" ? target.valueAsNumber || 0 : target.value;
    const { [target.name]: _, ...others } = this.changes;
    this.changes = value === this.#stored(target.name) ? others : { ...others, [target.name]: value };
    this.isSaved = false;
    this.error = undefined;
  }

  #wanted() {
    if (this.card) return this.changes;
    const fields = FIELDS.map((name) => [name, this.#value(name)]);
    return Object.fromEntries(fields.filter(([, value]) => value !== ""));
  }

  // What is typed while the request is under way stays as an unsaved change.
  async #submit(event) {
    event.preventDefault();
    if (this.isSaving || !this.#isChanged) return;
    this.isSaving = true;
    this.error = undefined;
    const sent = this.#wanted();
    try {
      const card = await this.api.putCreatorsMe(sent);
      this.card = card;
      this.changes = Object.fromEntries(Object.entries(this.changes).filter(([name, value]) => value !== sent[name]));
      this.isSaved = true;
      this.tell("creator-saved", card);
    } catch (error) {
      this.error = error;
      await this.updateComplete;
      this.renderRoot.querySelector('[aria-invalid="true"]')?.focus();
    }
    this.isSaving = false;
  }

  async #readConfig() {
    this.blockSeconds = (await this.api.getConfig().catch(() => undefined))?.blockSeconds;
  }
}

customElements.define("hm-studio-profile", StudioProfile);
