// <hm-creator-card>: a creator with picture, rate and state, and a way to call. Property `creator` is a card of the API.

import { HalfminuteElement, css, html, nothing } from "../elements/base/element.js";
import { addressOf } from "./place.js";

export class CreatorCard extends HalfminuteElement {
  static properties = { creator: { attribute: false }, own: { type: Boolean } };
  static styles = [
    HalfminuteElement.styles,
    css`
      article {
        display: grid;
        grid-template-columns: auto 1fr;
        gap: 0.25rem 1rem;
        align-items: center;
        height: 100%;
        padding: 1rem;
        border-radius: var(--hm-radius, 0.75rem);
        background: var(--hm-panel, #f4f5f8);
      }
      img,
      .initial {
        grid-row: 1 / span 2;
        width: 4rem;
        height: 4rem;
        border-radius: 50%;
        object-fit: cover;
      }
      .initial {
        display: grid;
        place-items: center;
        background: var(--hm-line, #d5d8df);
        font-size: 1.5rem;
        font-weight: 600;
      }
      h3,
      a.action {
        min-width: 0;
        overflow-wrap: anywhere;
      }
      h3 {
        margin: 0;
        align-self: end;
      }
      p {
        margin: 0;
        align-self: start;
        font-size: 0.9375rem;
      }
      .about {
        display: -webkit-box;
        grid-column: 1 / -1;
        overflow: hidden;
        -webkit-box-orient: vertical;
        -webkit-line-clamp: 4;
        margin-block-start: 0.5rem;
        overflow-wrap: anywhere;
      }
      .action {
        grid-column: 1 / -1;
        margin-block-start: 0.75rem;
        align-self: end;
      }
      a.action {
        display: grid;
        place-items: center;
        min-height: 2.75rem;
        padding: 0.5rem 1rem;
        box-sizing: border-box;
        text-align: center;
        border-radius: var(--hm-radius, 0.75rem);
        background: var(--hm-accent, #4a3fd6);
        color: var(--hm-on-accent, #fff);
        font-weight: 600;
        text-decoration: none;
      }
      .state::before {
        display: inline-block;
        width: 0.625rem;
        height: 0.625rem;
        margin-inline-end: 0.375rem;
        border-radius: 50%;
        background: var(--hm-line, #d5d8df);
        content: "";
      }
      .state.free::before {
        background: var(--hm-good, #17663a);
      }
      .state.busy::before {
        background: var(--hm-warn, #8a4b00);
      }
    `,
  ];

  render() {
    const { displayName, pictureUrl, about, rateTokensPerMin } = this.creator;
    return html`<article>
      ${pictureUrl
        ? html`<img src=${pictureUrl} alt="" width="64" height="64" loading="lazy" />`
        : html`<span class="initial" aria-hidden="true">${displayName.slice(0, 1)}</span>`}
      <h3>${displayName || this.t("card.nameless")}</h3>
      <p class="tabular">${this.t("card.rate", { tokens: rateTokensPerMin })}<br />${this.#state()}</p>
      ${about ? html`<p class="about quiet-text">${about}</p>` : nothing} ${this.#action()}
    </article>`;
  }

  /** Whether a call would ring now. */
  get isFree() {
    const { online, busy, acceptsCalls } = this.creator;
    return online && acceptsCalls && !busy;
  }

  #state() {
    const { online, busy } = this.creator;
    const state = !online ? "away" : busy ? "busy" : this.isFree ? "free" : "closed";
    return html`<span class="state ${state}">${this.t(`card.${state}`)}</span>`;
  }

  #action() {
    if (this.own) return html`<span class="action quiet-text">${this.t("card.own")}</span>`;
    if (!this.isFree) return nothing;
    const { userId, displayName } = this.creator;
    return html`<a class="action" href=${addressOf("call", userId)}>${this.t("card.call", { name: displayName })}</a>`;
  }
}

customElements.define("hm-creator-card", CreatorCard);
