// A list that is read page by page and grows at its top while it is shown.

export class PagedList {
  #host;
  #idOf;
  #read;
  #generation = 0;

  items = [];
  total = 0;
  state = "waiting"; // then "ready" or "failed"
  isBusy = false;
  error;
  next = null;

  /** `read` returns the first page, as a function of `client.rest` does; `idOf` tells items apart. */
  constructor(host, idOf, read) {
    this.#host = host;
    this.#idOf = idOf;
    this.#read = read;
  }

  /** Reads the list anew, such as after its filter changed. */
  load() {
    this.state = "waiting";
    this.items = [];
    return this.#take(this.#read, (page) => page);
  }

  /** Reads the next page. */
  more() {
    if (!this.next || this.isBusy) return;
    return this.#take(this.next, ({ items, next }) => ({ items: [...this.items, ...items], next }));
  }

  /** Reads the first page again, and keeps the items below it. */
  refresh() {
    if (this.state !== "ready" || this.isBusy) return this.load();
    return this.#take(this.#read, (page) => this.#merged(page));
  }

  /** Reads the first page again, and keeps nothing below it: for a list that items leave. */
  reread() {
    return this.#take(this.#read, (page) => page);
  }

  #merged({ items, next }) {
    const ids = new Set(items.map(this.#idOf));
    const older = this.items.filter((item) => !ids.has(this.#idOf(item)));
    const overlaps = older.length < this.items.length;
    return overlaps ? { items: [...items, ...older], next: this.next } : { items, next };
  }

  async #take(read, combine) {
    const generation = ++this.#generation;
    this.isBusy = true;
    this.error = undefined;
    this.#host.requestUpdate();
    try {
      const page = await read();
      if (generation !== this.#generation) return;
      Object.assign(this, combine(page), { total: page.total, state: "ready" });
    } catch (error) {
      if (generation !== this.#generation) return;
      Object.assign(this, { error, state: this.items.length ? "ready" : "failed" });
    }
    this.isBusy = false;
    this.#host.requestUpdate();
  }
}
