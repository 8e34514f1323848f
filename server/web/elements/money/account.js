// The user and their wallet, which all elements of a client share: read once, then kept up to date by events.

const READ_MS = 400; // from an event to the request for the parts of the balance, so that a burst makes one request

const accounts = new WeakMap();

/** The account of a client's user. */
export function accountOf(client) {
  if (!accounts.has(client)) accounts.set(client, new Account(client));
  return accounts.get(client);
}

class Account {
  #client;
  #hosts = new Set();
  #offs = [];
  #timer;
  #changes = 0;

  user;
  wallet;
  error;

  constructor(client) {
    this.#client = client;
  }

  /** Updates the host, an element, whenever something changes. The first host opens the session for events. */
  add(host) {
    this.#hosts.add(host);
    if (this.#hosts.size === 1) this.#follow();
  }

  remove(host) {
    this.#hosts.delete(host);
    if (this.#hosts.size > 0) return;
    clearTimeout(this.#timer);
    for (const off of this.#offs.splice(0)) off();
  }

  /** Reads user and wallet. A failure is kept in `error`, for the elements to show. */
  async read() {
    clearTimeout(this.#timer);
    const before = this.#changes;
    try {
      const { user, wallet } = await this.#client.rest.getMe();
      this.user = user;
      // A balance that an event has changed meanwhile is newer; the event's own read follows.
      if (before === this.#changes || !this.wallet) this.wallet = wallet;
      this.error = undefined;
    } catch (error) {
      this.error = error;
    }
    this.#update();
  }

  #follow() {
    const client = this.#client;
    this.#offs = [
      client.on("wallet:changed", (event) => this.#changed(event)),
      client.on("session:ready", () => this.#readSoon()),
    ];
    const { name, forGood } = client.state;
    if (name === "closed" && !forGood) client.connect().catch(() => {}); // the client reports it
    this.read();
  }

  #changed({ balance }) {
    this.#changes += 1;
    if (this.wallet) this.wallet = { ...this.wallet, balance };
    this.#update();
    this.#readSoon();
  }

  #readSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.read(), READ_MS);
  }

  #update() {
    for (const host of this.#hosts) host.requestUpdate();
  }
}
