// What one viewer pays for a metered stream: the figures are the server's, and run on between two answers.

import { ActiveClock } from "../video/active_clock.js";

const READ_MS = 300; // events that belong together lead to one read
const LOOK_MS = 3000; // between two looks at a clock that stands

export class ViewingMeter {
  #client;
  #streamId;
  #changed;
  #timer;
  #readAt = 0;
  #left = null;
  #leftAt = 0; // of the clock

  clock = new ActiveClock();
  blocks = 0;
  tokens = 0;
  lastBlock = null;
  isStopped = false;

  constructor(client, streamId, changed) {
    this.#client = client;
    this.#streamId = streamId;
    this.#changed = changed;
  }

  /** The time that is paid for, in seconds: more is never charged. */
  seconds(blockSeconds) {
    return Math.min(this.clock.read(), this.blocks * blockSeconds);
  }

  /** How long the balance lasts, in seconds of watching; null until the server has sent it. */
  get left() {
    return this.#left === null ? null : Math.max(0, this.#left - (this.clock.read() - this.#leftAt));
  }

  /** Reads the figures after a moment, since something changed them. */
  readSoon() {
    this.#timer ??= setTimeout(() => this.#read(), READ_MS);
  }

  /** Looks again where the clock may have stopped: viewers receive no event when the owner is silent. */
  tick(blockSeconds) {
    const isPast = this.blocks > 0 && this.clock.read() >= this.blocks * blockSeconds;
    if ((isPast || this.isStopped) && performance.now() - this.#readAt > LOOK_MS) this.readSoon();
  }

  close() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #read() {
    this.#timer = undefined;
    this.#readAt = performance.now();
    try {
      this.#take(await this.#client.rest.getBillingStreamsStreamId({ streamId: this.#streamId }));
    } catch {
      return; // nothing is paid yet, or the next event reads again
    }
    this.#changed();
  }

  #take({ totals, blocks, paidThrough, secondsLeft }) {
    this.isStopped = paidThrough === null;
    this.clock.set(totals.activeSeconds, !this.isStopped);
    const { blockNo: number = 0, tokens: count } = blocks.at(-1) ?? {};
    this.blocks = number;
    this.lastBlock = { number, count };
    this.tokens = totals.tokens;
    this.#left = secondsLeft;
    this.#leftAt = totals.activeSeconds;
  }
}
