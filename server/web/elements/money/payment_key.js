// The idempotency key of one intent to pay, so that a retry pays once.

export class PaymentKey {
  #key;
  #wanted;

  /**
   * Pays by `pay(key)`. After a failure the next use for the same content has the same key; other content is another
   * intent. Without a key, the SDK makes one, which its error names.
   */
  async use(content, pay) {
    const wanted = JSON.stringify(content);
    if (wanted !== this.#wanted) this.forget();
    this.#wanted = wanted;
    try {
      const paid = await pay(this.#key);
      this.forget();
      return paid;
    } catch (error) {
      this.#key = error.key ?? this.#key;
      throw error;
    }
  }

  /** The next payment is another intent. */
  forget() {
    this.#key = this.#wanted = undefined;
  }
}
