// A stream as one user may watch it: its price, the user's access, and the purchase of a ticket.

import { PaymentKey } from "../money/payment_key.js";

const LOOK_MS = 10_000; // until the next look at a stream that is not live yet
const CAUSES = ["ticket", "refund"]; // of a changed balance, which may come with other access

export class TicketSale {
  #host;
  #found;
  #client;
  #account;
  #streamId;
  #key = new PaymentKey();
  #turn = 0;
  #timer;
  #offs = [];

  stream;
  creator; // the public card, if there is one
  access;
  error;
  isBuying = false;
  isBought = false;

  /** Updates the host, and calls `found` once it is known that the user has access. */
  constructor(host, found) {
    this.#host = host;
    this.#found = found;
  }

  begin(client, account) {
    this.#client = client;
    this.#account = account;
    this.#offs = [
      client.on("wallet:changed", ({ cause }) => CAUSES.includes(cause) && this.#again()),
      client.on("access:revoked", ({ channel }) => channel === this.stream?.channel && this.#again()),
    ];
  }

  end() {
    this.leave();
    for (const off of this.#offs.splice(0)) off();
  }

  /** Shows this stream from now on. */
  follow(streamId) {
    if (streamId === this.#streamId || !this.#client) return;
    this.leave();
    this.#streamId = streamId;
    this.load();
  }

  /** Shows no stream any more. A purchase that is under way goes on. */
  leave() {
    clearTimeout(this.#timer);
    this.#turn += 1;
    this.#streamId = this.stream = this.creator = this.access = this.error = undefined;
    this.isBought = false;
  }

  /** Reads the stream and the access to it. */
  async load() {
    const turn = ++this.#turn;
    const streamId = this.#streamId;
    clearTimeout(this.#timer);
    this.#set({ error: undefined });
    try {
      const [{ stream }, access] = await Promise.all([
        this.#client.rest.getStreamsStreamId({ streamId }),
        this.#client.rest.getStreamsStreamIdAccess({ streamId }),
      ]);
      if (turn === this.#turn) this.#loaded(stream, access);
    } catch (error) {
      if (turn === this.#turn && !this.access) this.#set({ error }); // else what is known stays
    }
  }

  /** The tokens that are missing for a ticket; 0 if there are enough, or the balance is not known. */
  get shortfall() {
    const balance = this.#account?.wallet?.balance ?? Infinity;
    return Math.max(0, (this.stream?.ticketPriceTokens ?? 0) - balance);
  }

  get detail() {
    return { streamId: this.stream.id, channel: this.stream.channel, reason: this.access.reason };
  }

  /** Buys a ticket, once: a retry has the same key. */
  async buy() {
    if (this.isBuying) return;
    const streamId = this.#streamId;
    this.#set({ isBuying: true, error: undefined });
    try {
      await this.#key.use({ streamId }, (key) => this.#client.rest.postStreamsStreamIdTickets({ streamId }, { key }));
      if (streamId === this.#streamId) this.#bought();
    } catch (error) {
      if (streamId === this.#streamId) await this.#refused(error);
    }
    this.#set({ isBuying: false });
  }

  #again() {
    if (this.#streamId && !this.isBuying) this.load();
  }

  #loaded(stream, access) {
    const isNew = access.hasAccess && !this.access?.hasAccess;
    this.#set({ stream, access });
    if (isNew) this.#found(this.detail);
    if (!this.creator) this.#readCreator(stream.creator.userId);
    if (stream.status === "scheduled") this.#timer = setTimeout(() => this.#again(), LOOK_MS);
  }

  // The stream has the creator's name; without the card only picture and text are left out.
  async #readCreator(userId) {
    const creator = await this.#client.rest.getCreatorsUserId({ userId }).catch(() => undefined);
    if (this.stream?.creator.userId === userId) this.#set({ creator });
  }

  #bought() {
    this.#turn += 1; // what was read before the purchase is out of date
    const hadAccess = this.access?.hasAccess;
    this.#set({ isBought: true, access: { hasAccess: true, reason: "ticket" } });
    if (!hadAccess) this.#found(this.detail);
    this.#account.read();
  }

  async #refused(error) {
    if (error.code === "INSUFFICIENT_TOKENS") await this.#account.read();
    if (error.code === "ALREADY_PURCHASED" || error.code === "STREAM_ENDED") return this.load();
    if (error.code !== "INSUFFICIENT_TOKENS" || this.shortfall === 0) this.#set({ error });
  }

  #set(fields) {
    Object.assign(this, fields);
    this.#host.requestUpdate();
  }
}
