// <hm-call>: rings the creator of the attribute `creator`, or takes the SDK's call of the property `call`, to its end.
// An element that leaves its page ends its call: nobody pays for a call that cannot be seen.

import { creatorView } from "./call_card.js";
import { endedView, receiptStyles } from "./call_receipt.js";
import { CallSession } from "./call_session.js";
import { incomingView, liveStyles, liveView, outgoingView } from "./call_views.js";
import { cardStyles } from "./card.js";
import { ConnectionBanner } from "./connection_banner.js";
import { controlStyles } from "./controls.js";
import { HalfminuteElement, nothing } from "./element.js";
import { FocusKeeper } from "./focus_keeper.js";
import { meterStyles } from "./meter.js";
import { nameOf, portraitStyles } from "./person.js";
import { Playback, videoStyles } from "./playback.js";
import { noticeStyles } from "./refusal.js";

const MOVE_MS = 1000; // within which an element may be put elsewhere in the page

export class HmCall extends HalfminuteElement {
  static properties = {
    creator: {},
    maxTokens: { type: Number, attribute: "max-tokens" },
    call: { attribute: false },
    card: { state: true },
    balance: { state: true },
    blockSeconds: { state: true },
    error: { state: true },
    busy: { state: true },
  };

  static styles = [
    HalfminuteElement.styles,
    noticeStyles,
    portraitStyles,
    videoStyles,
    meterStyles,
    cardStyles,
    controlStyles,
    liveStyles,
    receiptStyles,
  ];

  #client;
  #offs = [];
  #key; // of a ring that failed: the next attempt is the same intent

  session = new CallSession(this);
  banner = new ConnectionBanner(this);
  playback = new Playback(this);
  focus = new FocusKeeper(this);

  constructor() {
    super();
    this.busy = null;
    this.error = null;
  }

  /** What the element shows: idle, incoming, outgoing, joining, live or ended. */
  get phase() {
    const { call } = this;
    if (!call) return "idle";
    if (call.status === "ended") return "ended";
    if (call.status === "ringing") return call.role === "creator" ? "incoming" : "outgoing";
    return call.startedAt ? "live" : "joining";
  }

  /** The name of the other party. */
  get name() {
    return nameOf(this, this.call.role === "creator" ? this.call.fan : this.call.creator);
  }

  begin(client) {
    this.#client = client;
    this.banner.watch(client);
    this.#offs = [client.on("wallet:changed", ({ balance }) => (this.balance = balance))];
    this.session.follow(client, this.call);
    this.load();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    for (const off of this.#offs) off();
    this.session.release();
    setTimeout(() => this.isConnected || this.#abandon(), MOVE_MS);
  }

  willUpdate(changed) {
    if (!this.#client || !this.isConnected) return;
    if (changed.has("call") && changed.get("call") !== this.call) this.session.follow(this.#client, this.call);
    if (changed.has("creator") && changed.get("creator") !== undefined) this.load();
  }

  /** Reads the creator's card and the balance anew. */
  load = async () => {
    if (!this.creator || !this.#client) return;
    this.error = null;
    const { rest } = this.#client;
    try {
      const reads = [rest.getCreatorsUserId({ userId: this.creator }), rest.getWallet(), rest.getConfig()];
      const [card, { balance }, { blockSeconds }] = await Promise.all(reads);
      Object.assign(this, { card, balance, blockSeconds });
    } catch (error) {
      this.error = error;
    }
  };

  ring = () =>
    this.#act("ring", async () => {
      await this.session.local.open(); // the permission is asked for first: after the accept, time is short
      await this.#client.connect();
      this.call = await this.#client.calls.ring({
        creatorId: this.creator,
        maxTokens: this.maxTokens,
        expectedRateTokensPerMin: this.card.rateTokensPerMin,
        key: this.#key,
      });
      this.#key = undefined;
    });

  accept = () =>
    this.#act("accept", async () => {
      await this.session.local.open();
      await this.call.accept();
    });

  decline = () => this.#act("decline", () => this.call.decline());
  cancel = () => this.#act("cancel", () => this.call.cancel());
  pause = () => this.#act("pause", () => this.call.pause());
  resume = () => this.#act("resume", () => this.call.resume());
  end = () => this.#act("end", () => this.call.end());

  /** Puts an ended call away. */
  close = () => {
    this.tell("call-closed", { callId: this.call.id });
    this.call = undefined;
    this.error = null;
    this.load();
  };

  /** Asks the page for a way to buy tokens. */
  topUp = (required) => {
    const balance = this.call?.balance ?? this.balance;
    this.tell("top-up", { required, balance, shortfall: Math.max(0, required - balance) });
  };

  toggle = (kind) => {
    this.session.local.toggle(kind);
    this.requestUpdate();
  };

  /** Called by the session after each event of the call. */
  took({ type }) {
    const { id: callId, ended } = this.call;
    if (type === "call:started") this.tell("call-started", { callId });
    if (this.phase === "ended" && ended.reason && type !== "wallet:changed" && type !== "closed") {
      this.error = null;
      this.tell("call-ended", { callId, ...ended });
    }
    this.requestUpdate();
  }

  render() {
    switch (this.phase) {
      case "incoming":
        return incomingView(this);
      case "outgoing":
        return outgoingView(this);
      case "ended":
        return endedView(this);
      case "idle":
        return this.creator ? creatorView(this) : nothing;
      default:
        return liveView(this);
    }
  }

  async #act(name, act) {
    if (this.busy) return; // a double tap
    this.busy = name;
    this.error = null;
    try {
      await act();
    } catch (error) {
      this.#failed(name, error);
    } finally {
      this.busy = null;
    }
  }

  #failed(name, error) {
    if (name === "ring") {
      this.#key = error.key;
      this.session.local.close();
      if (error.code === "RATE_CHANGED") this.#showNewRate();
    }
    this.error = this.phase === "ended" ? null : error;
  }

  async #showNewRate() {
    const { card } = this;
    this.#key = undefined;
    await this.load();
    if (this.card !== card) this.requestUpdate();
  }

  #abandon() {
    const { phase, call } = this;
    const end = { outgoing: () => call.cancel(), joining: () => call.end(), live: () => call.end() }[phase];
    end?.().catch(() => {}); // without a connection the absence ends it
  }
}
