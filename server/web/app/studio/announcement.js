// <hm-studio-announcement>: a form that announces a stream, which is free or has a ticket, a rate, or both.
//
// Fires `streams-changed` after each attempt: after a lost answer, the list shows whether it succeeded.

import { MoneyElement, css, html, nothing } from "../../elements/money/money_element.js";
import { sectionStyles } from "../section_styles.js";

const TITLE_MAX = 200;

export class StudioAnnouncement extends MoneyElement {
  static properties = {
    isPaid: { state: true },
    rate: { state: true },
    blockSeconds: { state: true },
    isSending: { state: true },
    announced: { state: true }, // the title of the latest one
    error: { state: true },
  };
  static styles = [
    ...MoneyElement.styles,
    sectionStyles,
    css`
      form {
        max-width: 36rem;
      }
      fieldset {
        margin: 0;
        padding: 0;
        border: 0;
      }
      legend {
        padding: 0;
      }
      .choice {
        display: flex;
        gap: 0.75rem;
        align-items: center;
        min-height: 2.75rem;
        cursor: pointer;
      }
      .choice input {
        width: 1.25rem;
        height: 1.25rem;
        margin: 0;
        accent-color: var(--hm-accent, #4a3fd6);
      }
      .prices {
        display: grid;
        grid-template-columns: 1fr 1fr;
        gap: 0.25rem 0.75rem;
        align-items: end;
      }
      .prices .hint {
        grid-column: 1 / -1;
      }
    `,
  ];

  begin(client) {
    super.begin(client);
    this.#readConfig();
  }

  render() {
    return html`<form class="stack" @submit=${this.#submit}>
      <h2>${this.t("studio.announce")}</h2>
      <label>
        ${this.t("studio.stream.title")}
        <input name="title" required maxlength=${TITLE_MAX} autocomplete="off" />
      </label>
      <fieldset @change=${({ target }) => (this.isPaid = target.value === "private")}>
        <legend class="small">${this.t("studio.stream.access")}</legend>
        ${this.#choice("public", "studio.stream.public", !this.isPaid)}
        ${this.#choice("private", "studio.stream.private", Boolean(this.isPaid))}
      </fieldset>
      ${this.isPaid ? this.#prices() : nothing}
      <div class="row">
        <button aria-disabled=${Boolean(this.isSending)}>
          ${this.t(this.isSending ? "studio.stream.announcing" : "studio.stream.announce")}
        </button>
        <p class="state good" role="status">
          ${this.announced ? this.t("studio.stream.announced", { title: this.announced }) : nothing}
        </p>
      </div>
      ${this.error ? this.failure(this.error) : nothing}
    </form>`;
  }

  #choice(type, text, isChosen) {
    return html`<label class="choice">
      <input type="radio" name="type" value=${type} .checked=${isChosen} />
      ${this.t(text)}
    </label>`;
  }

  // One of both is needed; the browser asks for the ticket's price while there is none.
  #prices() {
    const input = ({ target }) => (this.rate = target.valueAsNumber || 0);
    return html`<div class="prices">
      <label>
        ${this.t("studio.stream.ticket")}
        <input name="ticket" type="number" inputmode="numeric" min="1" step="1" ?required=${!this.rate} />
      </label>
      <label>
        ${this.t("studio.rate")}
        <input name="rate" type="number" inputmode="numeric" min="1" step="1" @input=${input} />
      </label>
      <p class="hint tabular">${this.#explanation()}</p>
    </div>`;
  }

  #explanation() {
    const seconds = this.blockSeconds;
    if (!(this.rate > 0) || !seconds) return this.t("studio.stream.prices");
    return this.t("studio.stream.block", { seconds, cost: this.tokens(Math.ceil((this.rate * seconds) / 60)) });
  }

  async #submit(event) {
    event.preventDefault();
    if (this.isSending) return;
    this.isSending = true;
    this.error = this.announced = undefined;
    const form = event.target;
    try {
      const { stream } = await this.api.postStreams(this.#wanted(form.elements));
      this.announced = stream.title;
      form.reset();
      this.isPaid = this.rate = undefined;
    } catch (error) {
      this.error = error;
    }
    this.isSending = false;
    this.tell("streams-changed");
  }

  #wanted({ title, ticket, rate }) {
    const wanted = { title: title.value, type: this.isPaid ? "private" : "public" };
    if (ticket?.value) wanted.ticketPriceTokens = ticket.valueAsNumber;
    if (rate?.value) wanted.rateTokensPerMin = rate.valueAsNumber;
    return wanted;
  }

  async #readConfig() {
    this.blockSeconds = (await this.api.getConfig().catch(() => undefined))?.blockSeconds;
  }
}

customElements.define("hm-studio-announcement", StudioAnnouncement);
