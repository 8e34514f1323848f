// <hm-call>: rings the creator of the attribute `creator`, for at most `max-tokens`, or takes the SDK's call of the
// property `call`.
//
// Slots: `tip` is beside the controls; `top-up` is shown where tokens are missing.
// Events: `call-rings` (a call of one's own), `call-started`, `call-low` when the next block cannot be paid and `call-paid`
// when it can again, `call-ended`, `call-closed`, and `top-up` with `required`, `balance` and `shortfall`.
//
// An element that leaves its page ends its call: nobody pays for a call that cannot be seen.

import { creatorView } from "./call_card.js";
import { endedView, receiptStyles } from "./call_receipt.js";
import { CallSession, OUTCOMES } from "./call_session.js";
import { elsewhereView, incomingView, liveStyles, liveView, outgoingView } from "./call_views.js";
import { cardStyles } from "../base/card.js";
import { ConnectionBanner } from "../base/connection_banner.js";
import { controlStyles } from "../video/controls.js";
import { HalfminuteElement, nothing } from "../base/element.js";
import { ChatFeed, chatStyles } from "../base/chat_feed.js";
import { FocusKeeper } from "../base/focus_keeper.js";
import { meterStyles } from "../video/meter.js";
import { nameOf, portraitStyles } from "../base/person.js";
import { Playback, videoStyles } from "../video/playback.js";
import "../people/report_button.js";
import { noticeStyles } from "../base/notice.js";

const STALE = ["RATE_CHANGED", "CREATOR_BUSY", "CREATOR_UNAVAILABLE"]; // the card shows something else
const MOVE_MS = 1000; // within which an element may be moved within the page

export class HmCall extends HalfminuteElement {
  static properties = {
    creator: {},
    maxTokens: { type: Number, attribute: "max-tokens" },
    call: { attribute: false },
    card: { state: true },
    balance: { state: true },
    blockSeconds: { state: true },
    error: { state: true },
  };

  static styles = [
    HalfminuteElement.styles,
    noticeStyles,
    portraitStyles,
    videoStyles,
    meterStyles,
    cardStyles,
    controlStyles,
    chatStyles,
    liveStyles,
    receiptStyles,
  ];

  #client;
  #offs = [];
  #key; // of a ring that failed: the next attempt is the same intent

  busy = new Set(); // the actions that are under way

  session = new CallSession(this);
  banner = new ConnectionBanner(this);
  playback = new Playback(this);
  feed = new ChatFeed(this);
  focusKeeper = new FocusKeeper(this);

  constructor() {
    super();
    this.error = null;
    this.blockSeconds = 30; // until the server has named it
  }

  /** What the element shows: idle, incoming, outgoing, elsewhere (on another device), joining, live or ended. */
  get phase() {
    const { call } = this;
    if (!call) return "idle";
    if (call.status === "ended") return "ended";
    if (call.status === "ringing") return call.role === "creator" ? "incoming" : "outgoing";
    if (!call.room) return "elsewhere";
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
    this.requestUpdate();
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

  /** Reads the creator's card and the balance anew, and drops an error. */
  reload = () => {
    this.error = null;
    return this.load();
  };

  load = async () => {
    if (!this.creator || !this.#client) return;
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
      this.tell("call-rings", { callId: this.call.id });
    });

  accept = () =>
    this.#act("accept", async () => {
      await this.session.local.open();
      await this.call.accept();
    });

  /** Takes over a call that was answered on another device. */
  join = () =>
    this.#act("join", async () => {
      await this.session.local.open();
      await this.call.join();
    });

  /** Resolves to whether the text was sent. */
  chat = (text) => this.#act("chat", () => this.call.room.chat(text));
  decline = () => this.#act("decline", () => this.call.decline());
  cancel = () => this.#act("cancel", () => this.call.cancel());
  pause = () => this.#act("pause", () => this.call.pause());
  resume = () => this.#act("resume", () => this.call.resume());
  end = () => this.#act("end", () => this.call.end());

  /** Drops a call that is over, and shows the card of its creator again. */
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
    if (type === "balance:low") this.tell("call-low", { callId });
    if (type === "balance:ok") this.tell("call-paid", { callId });
    if (OUTCOMES.includes(type)) {
      this.error = null;
      this.tell("call-ended", { callId, ...ended });
    }
    this.requestUpdate();
  }

  render() {
    if (this.call && !this.#client) return nothing; // it is not followed yet
    switch (this.phase) {
      case "incoming":
        return incomingView(this);
      case "outgoing":
        return outgoingView(this);
      case "elsewhere":
        return elsewhereView(this);
      case "ended":
        return endedView(this);
      case "idle":
        return this.creator ? creatorView(this) : nothing;
      default:
        return liveView(this);
    }
  }

  async #act(name, act) {
    if (this.busy.has(name)) return false; // a double tap; hanging up waits for nothing else
    this.busy.add(name);
    this.error = null;
    this.requestUpdate();
    try {
      await act();
      return true;
    } catch (error) {
      this.#failed(name, error);
      return false;
    } finally {
      this.busy.delete(name);
      this.requestUpdate();
    }
  }

  #failed(name, error) {
    if (name === "ring") {
      this.#key = error.key;
      this.session.local.close();
      if (STALE.includes(error.code)) {
        this.#key = undefined;
        this.load();
      }
    }
    this.error = this.phase === "ended" ? null : error;
  }

  #abandon() {
    const { phase, call } = this;
    const end = { outgoing: () => call.cancel(), joining: () => call.end(), live: () => call.end() }[phase];
    end?.().catch(() => {}); // without a connection the absence ends it
  }
}
