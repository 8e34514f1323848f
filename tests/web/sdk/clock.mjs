// Virtual time for the SDK: timers run when a test lets time pass.

const TURNS = 12; // of the event loop, in which promises that wait for each other settle

export class Clock {
  #timers = new Map();
  #next = 1;
  #now = 1_800_000_000_000;
  #monotonic = 0;

  constructor(random = () => 0.5) {
    this.random = random;
    this.now = () => this.#now;
    this.monotonic = () => this.#monotonic;
    this.setTimeout = (act, ms = 0) => {
      const id = this.#next++;
      this.#timers.set(id, { id, act, at: this.#monotonic + ms });
      return id;
    };
    this.clearTimeout = (id) => this.#timers.delete(id);
  }

  get waiting() {
    return this.#timers.size;
  }

  /** Runs what is ready, without letting time pass. */
  async settle() {
    for (let turn = 0; turn < TURNS; turn++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Lets time pass, with each timer at its moment. */
  async pass(ms) {
    const end = this.#monotonic + ms;
    await this.settle();
    for (let timer = this.#earliest(end); timer; timer = this.#earliest(end)) {
      this.#move(timer.at - this.#monotonic);
      this.#timers.delete(timer.id);
      timer.act();
      await this.settle();
    }
    this.#move(end - this.#monotonic);
  }

  /** The machine sleeps: time passes, and timers run afterwards. `stands`: its monotonic clock stands still. */
  sleep(ms, stands = false) {
    this.#now += ms;
    if (!stands) this.#monotonic += ms;
  }

  #move(ms) {
    this.#now += Math.max(0, ms);
    this.#monotonic += Math.max(0, ms);
  }

  #earliest(end) {
    const due = [...this.#timers.values()].filter((timer) => timer.at <= end);
    return due.sort((one, other) => one.at - other.at || one.id - other.id)[0];
  }
}

/** A generator of numbers from 0 to 1 that a seed determines (mulberry32). */
export function randomBy(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
