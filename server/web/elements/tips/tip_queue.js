// Tips that wait to be shown, one at a time. What arrives in a burst is summed, so that the queue stays short.

const SHOWN_MS = 5000; // long enough to read a name and an amount
const LETTER_MS = 40; // more for each letter of the messages
const READ_MS_MAX = 8000; // for the messages
const HURRIED_MS = 2500; // while more than HURRY wait
const HURRY = 3;
const WAITING_MAX = 8; // givers; beyond them all are summed, which is under a minute of waiting
const SEEN_MAX = 1000; // ids: as many as the server keeps events of a room

export class TipQueue {
  #changed;
  #waiting = [];
  #seen = new Set();
  #timer;

  /** The tip or sum to show now, or null. A sum has the tokens of `times` tips of `people` givers. */
  shown = null;

  /** Calls `changed` whenever `shown` does. */
  constructor(changed) {
    this.#changed = changed;
  }

  /** Adds an event `tip:new`, once. */
  add({ tipId, from, amountTokens, message }) {
    if (this.#isKnown(tipId)) return;
    const tip = {
      id: tipId,
      givers: new Set([from.userId]),
      name: from.displayName,
      tokens: amountTokens,
      times: 1,
      messages: message ? [message] : [],
    };
    const same = this.#waiting.find(({ givers }) => givers.has(from.userId)) ?? this.#overflow();
    if (same) merge(same, tip);
    else this.#waiting.push(tip);
    if (!this.shown) this.#next();
  }

  clear() {
    clearTimeout(this.#timer);
    this.#waiting = [];
    this.shown = null;
  }

  #isKnown(tipId) {
    if (this.#seen.has(tipId)) return true;
    this.#seen.add(tipId);
    if (this.#seen.size > SEEN_MAX) this.#seen.delete(this.#seen.values().next().value);
    return false;
  }

  #overflow() {
    return this.#waiting.length >= WAITING_MAX ? this.#waiting.at(-1) : undefined;
  }

  #next() {
    const tip = this.#waiting.shift();
    this.shown = tip ? { ...tip, people: tip.givers.size } : null;
    if (tip) this.#timer = setTimeout(() => this.#next(), this.#duration(tip));
    this.#changed();
  }

  #duration({ messages }) {
    const letters = messages.join("").length;
    if (this.#waiting.length > HURRY) return HURRIED_MS;
    return SHOWN_MS + Math.min(letters * LETTER_MS, READ_MS_MAX);
  }
}

function merge(sum, { givers, tokens, times, messages }) {
  for (const giver of givers) sum.givers.add(giver);
  sum.tokens += tokens;
  sum.times += times;
  sum.messages = sum.givers.size > 1 ? [] : [...sum.messages, ...messages]; // a sum of many has no room for them
}
