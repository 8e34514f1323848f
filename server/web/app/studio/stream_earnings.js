// <hm-studio-stream-earnings>: the tokens that a stream has earned by blocks, tickets and tips.
//
// Property `stream` is a view of the API. The API has no sums of one stream, so its blocks and tickets are counted here
// page by page, up to a limit that is stated.

import { Reading } from "../../elements/base/reading.js";
import { MoneyElement, html, nothing } from "../../elements/money/money_element.js";

const PAGES_MAX = 10; // of each list, so that the question of one creator stays a few requests
const PAGE = 100;
const DAY_MS = 86_400_000; // after its end, within which a stream's tickets are paid out

export class StudioStreamEarnings extends MoneyElement {
  static properties = { stream: { attribute: false } };

  #sums = new Reading(this, () => this.#read());

  begin(client) {
    super.begin(client);
    this.#sums.start();
  }

  // A live stream is read again with each new view of it, and once more after its end.
  updated(changed) {
    if (changed.get("stream")?.status === "live") this.#sums.start();
  }

  render() {
    return this.#sums.view((sums) => this.#content(sums), 2);
  }

  #content({ blocks, tickets, tips }) {
    const parts = [blocks, tickets, tips].filter(Boolean);
    return html`<dl>
        ${blocks ? this.#line("studio.stream.blocks", blocks) : nothing}
        ${tickets ? this.#line("studio.stream.tickets.paid", tickets) : nothing}
        ${this.#line("studio.stream.tips", tips)}
        <dt>${this.t("studio.stream.total")}</dt>
        <dd><strong>${this.tokens(parts.reduce((sum, { tokens }) => sum + tokens, 0))}</strong></dd>
      </dl>
      ${parts.some(({ isCut }) => isCut)
        ? html`<p class="small quiet-text">${this.t("studio.stream.cut", { count: PAGES_MAX * PAGE })}</p>`
        : nothing}`;
  }

  #line(name, { count, tokens }) {
    return html`<dt>${this.t(name, { count })}</dt>
      <dd>${this.tokens(tokens)}</dd>`;
  }

  async #read() {
    const { ticketPriceTokens, rateTokensPerMin } = this.stream;
    const [blocks, tickets, tips] = await Promise.all([
      rateTokensPerMin ? this.#blocks() : undefined,
      ticketPriceTokens ? this.#tickets() : undefined,
      this.#tips(),
    ]);
    return { blocks, tickets, tips };
  }

  #blocks() {
    const first = this.api.getBillingHistory({ streamId: this.stream.id, role: "creator", limit: PAGE });
    return sum(first, (block) => block.tokens - block.refundedTokens);
  }

  #tickets() {
    const { id, startedAt, endedAt } = this.stream;
    const to = endedAt ? new Date(Date.parse(endedAt) + DAY_MS).toISOString() : undefined;
    const first = this.api.getWalletLedger({ kind: "release", from: startedAt, to, limit: PAGE });
    return sum(
      first,
      (entry) => entry.tokens,
      (entry) => entry.roomId === id,
    );
  }

  async #tips() {
    const { items } = await this.api.getTipsLeaderboard({ channel: this.stream.channel });
    const total = (name) => items.reduce((sum, giver) => sum + giver[name], 0);
    return { count: total("tips"), tokens: total("tokens") };
  }
}

/** The number and the tokens of the items of a list, and whether its end was out of reach. */
async function sum(first, tokensOf, isWanted = () => true) {
  const wanted = [];
  let page = await first;
  for (let pages = 1; ; pages++) {
    wanted.push(...page.items.filter(isWanted));
    if (!page.next || pages === PAGES_MAX) break;
    page = await page.next();
  }
  const tokens = wanted.reduce((sum, item) => sum + tokensOf(item), 0);
  return { count: wanted.length, tokens, isCut: Boolean(page.next) };
}

customElements.define("hm-studio-stream-earnings", StudioStreamEarnings);
