// <hm-studio-stream>: one stream of the creator with its state, and the buttons that start and end it.
//
// Properties: `stream` is a view of the API, `timings` are those of `GET /config`. Fires `streams-changed` after each
// attempt.

import { MoneyElement, css, html, nothing } from "../../elements/money/money_element.js";
import { clock, moment } from "../../elements/base/words.js";
import { addressOf } from "../place.js";
import "./stream_earnings.js";
import { sectionStyles } from "../section_styles.js";

export class StudioStream extends MoneyElement {
  static properties = {
    stream: { attribute: false },
    timings: { attribute: false },
    isAsking: { state: true }, // whether it shall really end
    isSending: { state: true },
    isOpened: { state: true },
    error: { state: true },
  };
  static styles = [
    ...MoneyElement.styles,
    sectionStyles,
    css`
      article {
        display: grid;
        gap: 0.5rem;
        padding: 1rem;
        border-radius: var(--hm-radius, 0.75rem);
        background: var(--hm-panel, #f4f5f8);
      }
      article.live {
        box-shadow: inset 0 0 0 2px var(--hm-bad, #b3261e);
      }
      h3 {
        overflow-wrap: anywhere;
      }
      .badge {
        color: var(--hm-quiet, #565e6c);
        font-size: 0.875rem;
        font-weight: 600;
      }
      .live .badge {
        padding: 0.125rem 0.625rem;
        border-radius: 1rem;
        background: var(--hm-bad, #b3261e);
        color: var(--hm-paper, #fff);
      }
      a.open {
        display: inline-grid;
        align-items: center;
        min-height: 2.75rem;
        font-weight: 600;
      }
      button.end {
        background: var(--hm-bad, #b3261e);
        color: var(--hm-paper, #fff);
      }
    `,
  ];

  render() {
    const { title, status, endReason } = this.stream;
    return html`<article class=${status}>
      <div class="row apart">
        <h3>${title}</h3>
        <span class="badge">${this.t(`studio.stream.is.${endReason === "cancelled" ? "cancelled" : status}`)}</span>
      </div>
      <p class="small quiet-text tabular">${this.#facts().join(" · ")}</p>
      ${status === "live" ? this.#rules() : nothing} ${this.#actions()}
      ${this.error ? this.failure(this.error) : nothing} ${this.stream.startedAt ? this.#earnings() : nothing}
    </article>`;
  }

  #facts() {
    const { ticketPriceTokens: ticket, rateTokensPerMin: rate, status, viewers } = this.stream;
    const prices = [
      ticket ? this.t("home.stream.ticket", { tokens: ticket }) : "",
      rate ? this.t("card.rate", { tokens: rate }) : "",
    ].filter(Boolean);
    const watching = status === "live" ? [this.t("studio.stream.viewers", { count: viewers })] : [];
    return [...watching, prices.join(" + ") || this.t("home.stream.free"), this.#when()];
  }

  #when() {
    const { createdAt, startedAt, endedAt } = this.stream;
    const [text, at] = endedAt
      ? ["studio.stream.ended.at", endedAt]
      : startedAt
        ? ["studio.stream.started.at", startedAt]
        : ["studio.stream.announced.at", createdAt];
    return this.t(text, { at: moment(this.language, at) });
  }

  #rules() {
    if (!this.timings) return nothing;
    const { ticketReleaseSeconds, streamDropLimitSeconds } = this.timings;
    const away = this.t("studio.stream.away", { minutes: clock(streamDropLimitSeconds) });
    const tickets = this.t("studio.stream.tickets", { minutes: clock(ticketReleaseSeconds) });
    return html`<p class="small">${away} ${this.stream.ticketPriceTokens ? tickets : nothing}</p>`;
  }

  #actions() {
    const { status } = this.stream;
    if (status === "ended") return nothing;
    if (this.isAsking) return this.#question();
    return html`<div class="row">
      ${status === "live" ? this.#link() : nothing}
      ${status === "scheduled" ? this.#button("start", "studio.stream.start", () => this.#start()) : nothing}
      ${this.#button(
        "quiet",
        status === "live" ? "studio.stream.end" : "studio.stream.cancel",
        () => (this.isAsking = true),
        true,
      )}
      ${this.#progress()}
    </div>`;
  }

  #link() {
    return html`<a class="open" href=${addressOf("stream", this.stream.id)}>${this.t("studio.stream.open")}</a>`;
  }

  #question() {
    const isLive = this.stream.status === "live";
    return html`<p>${this.t(isLive ? "studio.stream.end.sure" : "studio.stream.cancel.sure")}</p>
      <div class="row">
        ${this.#button("end", isLive ? "studio.stream.end.now" : "studio.stream.cancel", () => this.#end())}
        ${this.#button("quiet", "studio.stream.keep", () => (this.isAsking = false), true)} ${this.#progress()}
      </div>`;
  }

  #button(kind, text, act, takesFocus = false) {
    return html`<button
      type="button"
      class=${kind}
      ?data-focus=${takesFocus}
      aria-disabled=${Boolean(this.isSending)}
      @click=${act}
    >
      ${this.t(text)}
    </button>`;
  }

  #progress() {
    return html`<span class="small" role="status">${this.isSending ? this.t("studio.stream.waiting") : nothing}</span>`;
  }

  #earnings() {
    const toggle = ({ target }) => (this.isOpened = target.open);
    return html`<details @toggle=${toggle}>
      <summary>${this.t("studio.stream.earnings")}</summary>
      ${this.isOpened ? html`<hm-studio-stream-earnings .stream=${this.stream}></hm-studio-stream-earnings>` : nothing}
    </details>`;
  }

  #start() {
    return this.#send(() => this.api.postStreamsStreamIdStart({ streamId: this.stream.id }));
  }

  #end() {
    return this.#send(() => this.api.postStreamsStreamIdEnd({ streamId: this.stream.id }));
  }

  async #send(request) {
    if (this.isSending) return;
    this.isSending = true;
    this.error = undefined;
    try {
      ({ stream: this.stream } = await request());
      this.isAsking = false;
    } catch (error) {
      this.error = error;
    }
    this.isSending = false;
    this.tell("streams-changed");
  }
}

customElements.define("hm-studio-stream", StudioStream);
