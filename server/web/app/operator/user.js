// <hm-operator-user>: one user as operators see them: wallet, ban, credits, and what they paid and earned.
//
// Property `userId`.

import { moment } from "../../elements/base/words.js";
import { Reading } from "../../elements/base/reading.js";
import { MoneyElement, html, nothing } from "../../elements/money/money_element.js";
import { addressOf } from "../place.js";
import { sectionStyles } from "../section_styles.js";
import "./decision_form.js";
import { operatorStyles } from "./styles.js";
import "./user_history.js";

export class OperatorUser extends MoneyElement {
  static properties = {
    userId: { attribute: false },
    form: { state: true }, // of the open form: "ban" or "credit"
    isDone: { state: true },
    error: { state: true },
  };
  static styles = [...MoneyElement.styles, sectionStyles, operatorStyles];

  #found = new Reading(this, () => this.api.getAdminUsersUserId({ userId: this.userId }));

  begin(client) {
    super.begin(client);
    this.#found.start();
  }

  willUpdate(changed) {
    if (!changed.has("userId") || !this.api) return;
    this.form = this.error = undefined;
    this.isDone = false;
    this.#found.restart();
  }

  render() {
    return html`<p><a href=${addressOf("operator", "users")}>${this.t("operator.user.back")}</a></p>
      ${this.#found.view((found) => this.#content(found), 6)}`;
  }

  #content(found) {
    const { user, wallet } = found;
    return html`<section class="stack">
        <h2><bdi>${user.displayName || this.t("operator.user.nameless")}</bdi></h2>
        <div class="columns">
          <div class="card stack">${this.#person(found)}</div>
          <div class="card stack">${this.#wallet(wallet)}</div>
        </div>
        ${this.error ? this.failure(this.error) : nothing}
        <p role="status" class="state good">${this.isDone ? this.t("operator.decided") : nothing}</p>
      </section>
      <hm-user-history .userId=${this.userId} @refunded=${() => this.#changed()}></hm-user-history>`;
  }

  #person({ user, creator, ban, online }) {
    return html`<dl class="facts">
        ${this.#fact("operator.user.id", html`<span class="code">${user.userId}</span>`)}
        ${user.email ? this.#fact("operator.user.email", html`<bdi>${user.email}</bdi>`) : nothing}
        ${this.#fact("operator.user.created", moment(this.language, user.createdAt))}
        ${this.#fact("operator.user.online", this.t(online ? "operator.yes" : "operator.no"))}
        ${creator ? this.#fact("operator.user.rate", this.t("card.rate", { tokens: creator.rateTokensPerMin })) : nothing}
      </dl>
      ${ban ? this.#ban(ban) : nothing} ${this.form === "ban" ? this.#banForm(ban) : this.#banButton(ban)}`;
  }

  #ban({ reason, until }) {
    const end = until ? this.t("operator.until", { at: moment(this.language, until) }) : this.t("operator.endless");
    return html`<p class="notice bad">${this.t("operator.user.banned", { reason, end })}</p>`;
  }

  #banButton(ban) {
    return html`<div class="row">
      <button type="button" class="quiet" data-focus @click=${() => this.#open("ban")}>
        ${this.t(ban ? "operator.ban.change" : "operator.ban")}
      </button>
      ${ban
        ? html`<button type="button" class="quiet" @click=${() => this.#lift()}>${this.t("operator.ban.lift")}</button>`
        : nothing}
    </div>`;
  }

  #banForm() {
    return html`<hm-decision-form
      .fields=${[{ name: "until", label: this.t("operator.ban.until"), type: "datetime-local" }]}
      .choices=${{ ban: this.t("operator.ban.now") }}
      .decide=${(_, { reason, until }) =>
        this.api.postAdminBans({
          userId: this.userId,
          reason,
          ...(until && { until: new Date(until).toISOString() }),
        })}
      @cancel=${() => (this.form = undefined)}
      @decided=${() => this.#changed()}
    ></hm-decision-form>`;
  }

  #wallet(wallet) {
    return html`<dl class="facts">
        ${["balance", "promotional", "cashable", "held", "owed", "lifetimeEarned", "lifetimeSpent"].map((name) =>
          this.#fact(`operator.wallet.${name}`, new Intl.NumberFormat(this.language).format(wallet[name])),
        )}
      </dl>
      ${wallet.frozen ? html`<p class="notice bad">${this.t("operator.wallet.frozen")}</p>` : nothing}
      ${this.form === "credit"
        ? this.#creditForm()
        : html`<div class="row">
            <button type="button" class="quiet" data-focus @click=${() => this.#open("credit")}>
              ${this.t("operator.credit")}
            </button>
          </div>`}`;
  }

  #creditForm() {
    return html`<hm-decision-form
      .fields=${[{ name: "tokens", label: this.t("operator.credit.tokens"), type: "number", required: true }]}
      .choices=${{ credit: this.t("operator.credit.now") }}
      .decide=${(_, { tokens, reason }, key) =>
        this.api.postAdminCredits({ userId: this.userId, tokens: Number(tokens), reason }, { key })}
      @cancel=${() => (this.form = undefined)}
      @decided=${() => this.#changed()}
    ></hm-decision-form>`;
  }

  #fact(name, value) {
    return html`<dt>${this.t(name)}</dt><dd>${value}</dd>`;
  }

  #open(form) {
    this.form = form;
    this.isDone = false;
  }

  async #lift() {
    try {
      await this.api.deleteAdminBansUserId({ userId: this.userId });
      await this.#changed();
    } catch (error) {
      this.error = error;
    }
  }

  #changed() {
    this.form = undefined;
    this.isDone = true;
    this.renderRoot.querySelector("hm-user-history")?.reread();
    return this.#found.start();
  }
}

customElements.define("hm-operator-user", OperatorUser);
