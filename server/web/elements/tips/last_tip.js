// The last tip of a channel that this browser has shown, so that a page that is loaded anew shows those after it.

export class LastTip {
  #name;

  constructor(channel) {
    this.#name = `halfminute last tip ${channel}`;
  }

  /** Its id; undefined if there is none, or the browser keeps nothing. */
  read() {
    try {
      return localStorage.getItem(this.#name) ?? undefined;
    } catch {
      return undefined;
    }
  }

  write(tipId) {
    try {
      localStorage.setItem(this.#name, tipId);
    } catch {
      // A page that is loaded anew then misses the tips of the meantime.
    }
  }
}
