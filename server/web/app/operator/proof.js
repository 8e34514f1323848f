// <hm-operator-proof>: proves the ledger when it is asked to, and shows each invariant and whether it holds.

import { moment } from "../../elements/base/words.js";
import { MoneyElement, css, html, nothing } from "../../elements/money/money_element.js";
import { sectionStyles } from "../section_styles.js";
import { operatorStyles } from "./styles.js";

export class OperatorProof extends MoneyElement {
  static properties = {
    result: { state: true },
    provedAt: { state: true },
    isProving: { state: true },
    error: { state: true },
  };
  static styles = [
    ...MoneyElement.styles,
    sectionStyles,
    operatorStyles,
    css`
      pre {
        grid-column: 1 / -1;
        margin: 0.5rem 0 0;
        overflow-x: auto;
        white-space: pre-wrap;
      }
    `,
  ];

  render() {
    return html`<section class="stack">
      <h2>${this.t("operator.proof")}</h2>
      <p>${this.t("operator.proof.about")}</p>
      <div class="row">
        <button type="button" aria-disabled=${Boolean(this.isProving)} @click=${() => this.#prove()}>
          ${this.t(this.isProving ? "operator.proof.running" : "operator.proof.start")}
        </button>
      </div>
      ${this.error ? this.failure(this.error) : nothing}
      <div role="status">${this.result ? this.#verdict() : nothing}</div>
      ${this.result ? this.#proofs() : nothing}
    </section>`;
  }

  #verdict() {
    const { holds, proofs } = this.result;
    const at = moment(this.language, this.provedAt);
    const name = holds ? "operator.proof.holds" : "operator.proof.broken";
    return html`<p class="notice ${holds ? "done" : "bad"}">${this.t(name, { count: proofs.length, at })}</p>`;
  }

  #proofs() {
    return html`<ul class="list">
      ${this.result.proofs.map(
        ({ proof, holds, rows }) => html`<li>
          <span class="code">${proof}</span>
          <span class="end ${holds ? "good" : "bad"}">${this.t(holds ? "operator.yes" : "operator.no")}</span>
          ${rows.length ? html`<pre class="code">${JSON.stringify(rows, null, 2)}</pre>` : nothing}
        </li>`,
      )}
    </ul>`;
  }

  async #prove() {
    if (this.isProving) return;
    this.isProving = true;
    this.error = undefined;
    try {
      this.result = await this.api.getAdminAudit();
      this.provedAt = Date.now();
    } catch (error) {
      this.error = error;
    }
    this.isProving = false;
  }
}

customElements.define("hm-operator-proof", OperatorProof);
