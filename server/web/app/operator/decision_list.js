// <hm-decision-list>: things that wait for a decision of an operator, each with the form that decides it.
//
// Properties: `heading`, `empty` (a text), `read()` returns a page as a function of the client does, `idOf(item)`,
// `show(item)` makes a template of an item, and `choices`, `decide(item, choice, values, key)`, `needsReason` as of
// <hm-decision-form>.

import { listView } from "../../elements/base/list_view.js";
import { PagedList } from "../../elements/base/paged_list.js";
import { MoneyElement, html, nothing } from "../../elements/money/money_element.js";
import { sectionStyles } from "../section_styles.js";
import "./decision_form.js";
import { operatorStyles } from "./styles.js";

export class DecisionList extends MoneyElement {
  static properties = {
    heading: {},
    empty: {},
    read: { attribute: false },
    idOf: { attribute: false },
    show: { attribute: false },
    choices: { attribute: false },
    needsReason: { attribute: false },
    decide: { attribute: false },
    opened: { state: true }, // the id of the item whose form is open
    isDone: { state: true },
  };
  static styles = [...MoneyElement.styles, sectionStyles, operatorStyles];

  #list = new PagedList(
    this,
    (item) => this.idOf(item),
    () => this.read(),
  );

  constructor() {
    super();
    this.needsReason = true;
  }

  begin(client) {
    super.begin(client);
    this.#list.load();
  }

  render() {
    return html`<section class="stack">
      <h2>${this.heading}</h2>
      <p role="status" class="state good">${this.isDone ? this.t("operator.decided") : nothing}</p>
      ${listView(this, this.#list, this.empty, (items) => this.#items(items))}
    </section>`;
  }

  #items(items) {
    return html`<ul class="list">
      ${items.map((item) => html`<li>${this.show(item)} ${this.#decision(item)}</li>`)}
    </ul>`;
  }

  #decision(item) {
    if (this.idOf(item) === this.opened) return this.#form(item);
    return html`<div class="whole row">
      <button type="button" class="quiet" @click=${() => this.#open(item)}>${this.t("operator.decide")}</button>
    </div>`;
  }

  #form(item) {
    return html`<hm-decision-form
      class="whole"
      .choices=${this.choices}
      .needsReason=${this.needsReason}
      .decide=${(...decision) => this.decide(item, ...decision)}
      @cancel=${() => (this.opened = undefined)}
      @decided=${() => this.#close()}
    ></hm-decision-form>`;
  }

  #open(item) {
    this.opened = this.idOf(item);
    this.isDone = false;
  }

  #close() {
    this.opened = undefined;
    this.isDone = true;
    return this.#list.reread();
  }
}

customElements.define("hm-decision-list", DecisionList);
