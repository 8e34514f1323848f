// Something that an element reads from the server and shows: only the answer to the latest request counts.

export class Reading {
  #host;
  #read;
  #latest = 0;

  value; // undefined until it was read
  error;

  /** `read` resolves to the value. The host, an element with `failure` and `skeleton`, is updated after each answer. */
  constructor(host, read) {
    this.#host = host;
    this.#read = read;
  }

  /** Reads anew; the former value is shown until the answer has come. */
  start = async () => {
    const reading = ++this.#latest;
    this.error = undefined;
    this.#host.requestUpdate();
    try {
      const value = await this.#read();
      if (reading === this.#latest) this.value = value;
    } catch (error) {
      if (reading === this.#latest) this.error = error;
    }
    this.#host.requestUpdate();
  };

  /** Reads anew something else: the former value is shown no more. */
  restart() {
    this.value = undefined;
    return this.start();
  }

  /** What `show` makes of the value; instead, the failure with a way to try again, or some lines while it is awaited. */
  view(show, lines = 3) {
    if (this.error) return this.#host.failure(this.error, this.start);
    return this.value === undefined ? this.#host.skeleton(lines) : show(this.value);
  }
}
