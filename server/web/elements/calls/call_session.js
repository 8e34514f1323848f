// One call as an element follows it: media, clock, warnings and receipt. The element renders after each change.

import { ActiveClock } from "../video/active_clock.js";
import { LocalMedia } from "../video/local_media.js";

const TICK_MS = 250;
const OFFER_MS = 2000;
export const OUTCOMES = ["call:ended", "call:declined", "call:missed", "call:cancelled"];

export class CallSession {
  #host;
  #client;
  #call;
  #media;
  #off;
  #timer;
  #shown; // the member whose media is shown: a creator may have joined on several devices

  local = new LocalMedia();
  clock = new ActiveClock();
  remote = null;
  hasPicture = false; // whether a frame of `remote` has arrived
  low = null; // the last `balance:low`, until the next block can be paid
  receipt = null;
  receiptError = null;
  hasNoMedia = false;

  constructor(host) {
    this.#host = host;
  }

  get blockSeconds() {
    return this.#call?.room?.info?.blockSeconds ?? this.#host.blockSeconds;
  }

  // After a page was loaded again, the SDK knows the single blocks a moment later than their sums.

  get tokens() {
    const charged = this.#call.blocks.reduce((sum, { tokens }) => sum + tokens, 0);
    return Math.max(charged, this.#call.room?.info?.tokens ?? 0);
  }

  get blocks() {
    return Math.max(this.#call.blocks.at(-1)?.blockNo ?? 0, this.#call.room?.info?.blocks ?? 0);
  }

  /** The time that is paid for: without a connection, nobody knows here whether the clock runs on. */
  get seconds() {
    return Math.min(this.clock.read(), this.blocks * this.blockSeconds);
  }

  /** Follows a call from now on, instead of the last one. */
  follow(client, call) {
    this.#unfollow();
    Object.assign(this, { low: null, receipt: null, receiptError: null, remote: null, clock: new ActiveClock() });
    this.#client = client;
    this.#call = call;
    if (!call) return this.local.close();
    this.#off = call.on("*", (event) => this.#take(event));
    this.#timer = setInterval(() => this.#host.requestUpdate(), TICK_MS);
    if (call.status === "ended") this.#end();
    else if (call.room?.state === "joined") {
      this.#host.feed.reset(call.room.history);
      this.#startMedia();
      this.#readClock();
    }
  }

  /** Stops following: releases the camera and the connections, and leaves the call itself as it is. */
  release() {
    this.#unfollow();
    this.local.close();
  }

  resized = ({ target }) => {
    this.hasPicture = target.videoWidth > 0;
    this.#host.requestUpdate();
  };

  async readReceipt() {
    this.receiptError = null;
    try {
      this.receipt = await this.#call.receipt();
    } catch (error) {
      this.receiptError = error;
    }
    this.#host.requestUpdate();
  }

  #unfollow() {
    this.#off?.();
    clearInterval(this.#timer);
    this.#media?.close();
    this.#media = undefined;
  }

  #take(event) {
    const { type, at, room, history } = event;
    if (type === "chat:new" || type === "tip:new") this.#host.feed.add(event);
    if (type === "room:joined") {
      this.#host.feed.reset(history);
      this.clock.set(room.activeSeconds, this.#isRunning);
      this.#startMedia();
    } else if (type === "call:started" || type === "call:resumed") this.clock.run(at);
    else if (type === "call:paused") {
      this.clock.stop(at);
      this.#readClock();
    } else if (type === "balance:low") this.low = event;
    else if (type === "balance:ok") this.low = null;
    else if (OUTCOMES.includes(type)) this.#end();
    else if (type === "wallet:changed" && this.receipt) this.readReceipt(); // a block was given back after the end
    this.#host.took(event);
  }

  get #isRunning() {
    const { status, startedAt, holds } = this.#call;
    return status === "active" && startedAt !== null && holds.length === 0;
  }

  // Time in which the creator was away is taken back, so the clock on the server may have stopped earlier.
  async #readClock() {
    const call = this.#call;
    const { totals } = await call.receipt().catch(() => ({})); // without an answer the estimate stays
    if (totals && call === this.#call) this.clock.set(totals.activeSeconds, this.#isRunning);
  }

  #end() {
    this.low = null;
    clearInterval(this.#timer);
    this.local.close();
    if (this.#call.ended.blocks > 0) this.readReceipt();
  }

  async #startMedia() {
    if (this.#media) return;
    const media = this.#openMedia();
    if (!media) return;
    await Promise.all([this.local.open(), this.#call.role === "creator" || firstTrack(media)]);
    if (media === this.#media) media.setLocal(this.local.stream);
    this.#host.requestUpdate();
  }

  #openMedia() {
    try {
      this.#media = this.#client.media(this.#call);
    } catch {
      this.hasNoMedia = true; // the browser has no WebRTC, which the element shows
      return undefined;
    }
    this.#media.on("remote", ({ memberId, stream }) => this.#show(memberId, stream));
    this.#media.on("gone", ({ memberId }) => memberId === this.#shown && this.#show(undefined, null));
    this.#media.on("closed", () => {
      this.#media = undefined;
      this.#show(undefined, null);
    });
    return this.#media;
  }

  #show(memberId, stream) {
    this.#shown = memberId;
    this.remote = stream;
    this.hasPicture = false;
    this.#host.requestUpdate();
  }
}

// Resolves with the first track of the creator, or after OFFER_MS if the creator sends none. The fan sends only then, so
// that the two sides do not offer at once: Chromium gathers no candidates for an answer that replaces its own offer.
function firstTrack(media) {
  return new Promise((resolve) => {
    media.on("remote", resolve);
    setTimeout(resolve, OFFER_MS);
  });
}
