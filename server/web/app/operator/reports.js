// <hm-operator-reports>: what users reported about each other, newest first.

import { listView } from "../../elements/base/list_view.js";
import { PagedList } from "../../elements/base/paged_list.js";
import { moment } from "../../elements/base/words.js";
import { MoneyElement, html, nothing } from "../../elements/money/money_element.js";
import { sectionStyles } from "../section_styles.js";
import { shortId, userLink } from "./links.js";
import { operatorStyles } from "./styles.js";

export class OperatorReports extends MoneyElement {
  static styles = [...MoneyElement.styles, sectionStyles, operatorStyles];

  #list = new PagedList(
    this,
    ({ reportId }) => reportId,
    () => this.api.getAdminReports({ limit: 20 }),
  );

  begin(client) {
    super.begin(client);
    this.#list.load();
  }

  render() {
    return html`<section class="stack">
      <div class="row apart">
        <h2>${this.t("operator.reports")}</h2>
        <button type="button" class="quiet" @click=${() => this.#list.refresh()}>${this.t("operator.refresh")}</button>
      </div>
      ${listView(this, this.#list, this.t("operator.reports.empty"), (items) => this.#items(items))}
    </section>`;
  }

  #items(items) {
    return html`<ul class="list">
      ${items.map((report) => html`<li>${this.#report(report)}</li>`)}
    </ul>`;
  }

  #report({ reporterId, userId, roomId, reason, createdAt }) {
    return html`<span>
        ${this.t("operator.report.about")} ${userLink(userId)}
      </span>
      <span class="end small quiet-text">
        ${moment(this.language, createdAt)}<br />
        ${this.t("operator.report.by")} ${reporterId ? userLink(reporterId) : "–"}
        ${roomId ? html`<br />${this.t("operator.report.room", { id: shortId(roomId) })}` : nothing}
      </span>
      <p class="whole reason"><bdi>${reason}</bdi></p>`;
  }
}

customElements.define("hm-operator-reports", OperatorReports);
