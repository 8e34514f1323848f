// The active time of a call or of a viewing session, in seconds: it runs between events of the server.

export class ActiveClock {
  #seconds = 0;
  #since = null; // by performance.now, while it runs
  #offset = Infinity; // of performance.now from the server's clock

  get isRunning() {
    return this.#since !== null;
  }

  read() {
    return this.isRunning ? this.#seconds + Math.max(0, performance.now() - this.#since) / 1000 : this.#seconds;
  }

  /** Sets the time as it is now, or as it was at the server's time `at`. */
  set(seconds, isRunning, at) {
    this.#seconds = seconds;
    this.#since = isRunning ? this.#local(at) : null;
  }

  run(at) {
    this.#since ??= this.#local(at);
  }

  stop(at) {
    if (this.isRunning) this.#seconds += Math.max(0, this.#local(at) - this.#since) / 1000;
    this.#since = null;
  }

  // Events that were missed arrive late: the fastest one so far shows the offset best.
  #local(at) {
    if (!at) return performance.now();
    this.#offset = Math.min(this.#offset, performance.now() - Date.parse(at));
    return Date.parse(at) + this.#offset;
  }
}
