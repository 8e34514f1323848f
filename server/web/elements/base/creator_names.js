// The names of creators by their ids: read one after another, each once for a client, when an element asks for them.

const shared = new WeakMap(); // from clients to names by id

export class CreatorNames {
  #host;
  #client;
  #names = new Map();
  #waiting = [];
  #isReading = false;

  constructor(host) {
    this.#host = host;
  }

  begin(client) {
    this.#client = client;
    if (!shared.has(client)) shared.set(client, this.#names);
    this.#names = shared.get(client);
  }

  /** The name of a creator; "" until it is known, and then the host is updated, or if there is none. */
  of(userId) {
    if (!this.#names.has(userId)) {
      this.#names.set(userId, "");
      this.#waiting.push(userId);
      this.#readAll();
    }
    return this.#names.get(userId);
  }

  async #readAll() {
    if (this.#isReading) return;
    this.#isReading = true;
    while (this.#waiting.length) await this.#read(this.#waiting.shift());
    this.#isReading = false;
  }

  async #read(userId) {
    try {
      const { displayName } = await this.#client.rest.getCreatorsUserId({ userId });
      this.#names.set(userId, displayName);
      this.#host.requestUpdate();
    } catch {
      // An entry without a name is still complete: the amount, the kind and the time are there.
    }
  }
}
