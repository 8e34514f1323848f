// What a server does in a minute or second, from the counts since its start that it gives at two moments.

const KEPT = 150; // readings: five minutes, with one each two seconds

export class Rates {
  #latest;

  points = []; // the oldest first

  /** Adds the figures of `GET /admin/figures`. Rates are null at first and after a restart, whose counts begin again. */
  add(figures) {
    const { connections, calls, streams, waitingCommands } = figures;
    const at = Date.parse(figures.at);
    const rates = this.#since(this.#latest, figures, at);
    this.points = [...this.points.slice(1 - KEPT), { at, connections, calls, streams, waitingCommands, ...rates }];
    this.#latest = figures;
  }

  /** Notes that there was no answer: the charts have a gap, and the next reading makes no rate over it. */
  addGap(at) {
    if (!this.#latest) return;
    this.#latest = undefined;
    this.points = [...this.points.slice(1 - KEPT), { at }];
  }

  #since(before, now, at) {
    const seconds = before ? (at - Date.parse(before.at)) / 1000 : 0;
    const grown = (name) => now[name] - before[name];
    if (seconds <= 0 || grown("batches") < 0 || grown("deliveries") < 0) return {};
    return {
      tokensPerMinute: (grown("tokensSpent") / seconds) * 60,
      deliveriesPerSecond: grown("deliveries") / seconds,
      postingsPerBatch: share(grown("postings"), grown("batches")),
      commitMs: share(grown("commitSeconds") * 1000, grown("batches")),
      lateMs: share(grown("blockLatenessSeconds") * 1000, grown("blocks")),
    };
  }
}

const share = (sum, count) => (count ? sum / count : null);
