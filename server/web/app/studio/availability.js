// <hm-studio-availability>: a switch that says whether its creator accepts calls; it is stored at once.
//
// Property `card` is the creator's. Fires `creator-saved` with the new card.

import { MoneyElement, css, html, nothing } from "../../elements/money/money_element.js";
import { sectionStyles } from "../section_styles.js";

export class StudioAvailability extends MoneyElement {
  static properties = {
    card: { attribute: false },
    wanted: { state: true }, // while it is being stored
    isSaved: { state: true },
    error: { state: true },
  };
  static styles = [
    ...MoneyElement.styles,
    sectionStyles,
    css`
      label {
        display: flex;
        gap: 0.75rem;
        align-items: center;
        min-height: 2.75rem;
        font-size: 1rem;
        font-weight: 600;
        cursor: pointer;
      }
      input:not([type="radio"]) {
        position: relative;
        flex: none;
        width: 3.25rem;
        min-height: 0;
        height: 1.875rem;
        margin: 0;
        padding: 0;
        border: 2px solid var(--hm-quiet, #565e6c);
        border-radius: 1rem;
        background: transparent;
        appearance: none;
        cursor: pointer;
      }
      input::before {
        position: absolute;
        inset-block: 0.1875rem;
        inset-inline-start: 0.1875rem;
        width: 1.25rem;
        border-radius: 50%;
        background: var(--hm-quiet, #565e6c);
        content: "";
      }
      input:checked {
        border-color: var(--hm-accent, #4a3fd6);
        background: var(--hm-accent, #4a3fd6);
      }
      input:checked::before {
        inset-inline: auto 0.1875rem;
        background: var(--hm-on-accent, #fff);
      }
    `,
  ];

  render() {
    const accepts = this.wanted ?? this.card.acceptsCalls;
    return html`<div class="card stack">
      <div class="row apart">
        <label>
          <input type="checkbox" role="switch" .checked=${accepts} @change=${this.#change} />
          ${this.t("studio.accepts")}
        </label>
        <p class="state quiet-text" role="status">${this.#state(accepts)}</p>
      </div>
      ${this.error ? this.failure(this.error) : nothing}
    </div>`;
  }

  #state(accepts) {
    if (this.wanted !== undefined) return this.t("studio.saving");
    const meaning = this.t(accepts ? "studio.accepts.on" : "studio.accepts.off");
    return this.isSaved ? `${this.t("studio.saved")} ${meaning}` : meaning;
  }

  // While one change is being stored, the switch keeps what was wanted.
  async #change(event) {
    if (this.wanted !== undefined) {
      event.target.checked = this.wanted;
      return;
    }
    this.wanted = event.target.checked;
    this.error = undefined;
    this.isSaved = false;
    try {
      const card = await this.api.putCreatorsMe({ acceptsCalls: this.wanted });
      this.card = card;
      this.isSaved = true;
      this.tell("creator-saved", card);
    } catch (error) {
      this.error = error;
    }
    this.wanted = undefined;
  }
}

customElements.define("hm-studio-availability", StudioAvailability);
