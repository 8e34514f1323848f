// <hm-stream>: the stream of the attribute `stream`, for its viewers and its owner.
//
// Slots: `player` replaces the direct video; `tip` is beside the controls; `ticket` is shown where a ticket is needed,
// and its event `access` lets the element read the access anew; `top-up` is shown where tokens are missing.
// Events: `joined`, `left`, `stream-ended`, `ticket`, and `top-up` with `required`, `balance` and `shortfall`.
//
// Nobody pays before choosing to watch. An element that leaves its page leaves the room, so that nobody pays unseen.

import { cardStyles } from "../base/card.js";
import { ChatFeed, chatStyles } from "../base/chat_feed.js";
import { ConnectionBanner } from "../base/connection_banner.js";
import { controlStyles } from "../video/controls.js";
import { HalfminuteElement } from "../base/element.js";
import { FocusKeeper } from "../base/focus_keeper.js";
import { meterStyles } from "../video/meter.js";
import { Moderation, moderationStyles } from "./moderation.js";
import { portraitStyles } from "../base/person.js";
import { Playback, videoStyles } from "../video/playback.js";
import { noticeStyles } from "../base/notice.js";
import "../people/report_button.js";
import { streamCardView } from "./stream_card.js";
import { StreamSession } from "./stream_session.js";
import { streamStyles, watchingView } from "./stream_views.js";

const MOVE_MS = 1000; // within which an element may be moved within the page
const LOOK_MS = 10_000; // between two looks at a stream that has not begun

export class HmStream extends HalfminuteElement {
  static properties = {
    stream: {},
    info: { state: true },
    access: { state: true },
    balance: { state: true },
    picture: { state: true },
    error: { state: true },
    outcome: { state: true }, // why the last membership ended
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
    moderationStyles,
    streamStyles,
  ];

  #client;
  #room;
  #looking;
  #off;

  busy = new Set(); // the actions that are under way

  feed = new ChatFeed(this);
  session = new StreamSession(this);
  banner = new ConnectionBanner(this);
  playback = new Playback(this);
  focusKeeper = new FocusKeeper(this);
  moderation = new Moderation(this);

  constructor() {
    super();
    Object.assign(this, { error: null, outcome: null });
    this.addEventListener("access", this.load); // from a ticket dialog in the slot
  }

  get userId() {
    return this.#client?.userId;
  }

  get hasPlayer() {
    return this.querySelector(":scope > [slot=player]") !== null;
  }

  get isOwner() {
    return this.access?.reason === "owner" || (this.info && this.info.creator.userId === this.userId);
  }

  /** Whether this viewer pays by the block. */
  get isMetered() {
    return this.info.rateTokensPerMin !== null && !["owner", "operator"].includes(this.access.reason);
  }

  get blockTokens() {
    return Math.ceil((this.info.rateTokensPerMin * this.info.blockSeconds) / 60);
  }

  begin(client) {
    this.#client = client;
    this.banner.watch(client);
    this.#off = client.on("wallet:changed", ({ balance }) => (this.balance = balance));
    if (this.#room?.state === "joined") this.session.follow(client, this.#room);
    this.load();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.#looking);
    this.#off?.();
    this.session.release();
    setTimeout(() => this.isConnected || this.#room?.leave().catch(() => {}), MOVE_MS);
  }

  willUpdate(changed) {
    if (changed.has("stream") && changed.get("stream") !== undefined) this.#change();
  }

  reload = () => {
    this.error = null;
    return this.load();
  };

  /** Reads the stream, the access to it and the balance anew; a page calls it after it has sold a ticket. */
  load = async () => {
    if (!this.stream || !this.#client) return;
    const { rest } = this.#client;
    const streamId = this.stream;
    try {
      const reads = [
        rest.getStreamsStreamId({ streamId }),
        rest.getStreamsStreamIdAccess({ streamId }),
        rest.getWallet(),
      ];
      const [{ stream: info }, access, { balance }] = await Promise.all(reads);
      if (streamId === this.stream) Object.assign(this, { info, access, balance });
      this.#loadPicture(info.creator);
    } catch (error) {
      this.error = error;
    }
    clearInterval(this.#looking);
    if (this.isConnected && this.info?.status === "scheduled") this.#looking = setInterval(this.load, LOOK_MS);
  };

  /** Joins the room; the owner's stream begins first if it has not. */
  join = () =>
    this.#act("join", async () => {
      await this.#client.connect();
      if (this.isOwner) {
        if (!this.hasPlayer) await this.session.local.open();
        await this.#client.rest.postStreamsStreamIdStart({ streamId: this.stream });
      }
      this.#room = await this.#client.join(this.info.channel);
      this.outcome = null;
      this.session.follow(this.#client, this.#room);
      this.tell("joined", { streamId: this.stream, channel: this.info.channel });
    });

  leave = () =>
    this.#act("leave", async () => {
      this.outcome = "left";
      await this.#room.leave();
    });

  /** Resolves to whether the text was sent. */
  chat = (text) => this.#act("chat", () => this.#room.chat(text));

  mute(userId) {
    return this.#room.mute(userId);
  }

  removeViewer(userId) {
    return this.#room.remove(userId);
  }

  end() {
    return this.#client.rest.postStreamsStreamIdEnd({ streamId: this.stream });
  }

  toggle = (kind) => {
    this.session.local.toggle(kind);
    this.requestUpdate();
  };

  /** Asks the page for a way to buy tokens. */
  topUp = (required) => {
    const { balance } = this;
    this.tell("top-up", { required, balance, shortfall: Math.max(0, required - balance) });
  };

  /** Asks the page for a way to buy a ticket. */
  buyTicket = () => {
    this.tell("ticket", { streamId: this.stream, ticketPriceTokens: this.info.ticketPriceTokens });
  };

  /** Called by the session after each event of the room. */
  took({ type, reason, error }) {
    if (type === "room:joined") this.outcome = null;
    if (type === "access:revoked") this.outcome = reason;
    if (type === "stream:ended") this.outcome = "ended";
    if (type === "closed") this.#closed(error);
    this.requestUpdate();
  }

  slotChanged = () => {
    if (this.hasPlayer) this.session.stopMedia();
    else this.session.startMedia();
    this.requestUpdate();
  };

  render() {
    return this.session.room ? watchingView(this) : streamCardView(this);
  }

  #closed(error) {
    this.session.release();
    this.#room = undefined;
    this.moderation.close();
    if (this.outcome === "ended") this.tell("stream-ended", { streamId: this.stream });
    else this.tell("left", { streamId: this.stream, reason: this.outcome ?? error?.code ?? "closed" });
    this.error = error ?? null;
    this.load();
  }

  async #loadPicture({ userId }) {
    if (this.picture !== undefined) return;
    const card = await this.#client.rest.getCreatorsUserId({ userId }).catch(() => ({})); // a letter does as well
    this.picture = card.pictureUrl ?? "";
  }

  #change() {
    this.#room?.leave().catch(() => {});
    Object.assign(this, { info: undefined, access: undefined, picture: undefined, outcome: null });
    this.load();
  }

  async #act(name, act) {
    if (this.busy.has(name)) return false; // a double tap; leaving waits for nothing else
    this.busy.add(name);
    this.error = null;
    this.requestUpdate();
    try {
      await act();
      return true;
    } catch (error) {
      this.error = name === "chat" && error.code === "FORBIDDEN" ? { ...error, code: "MUTED" } : error;
      if (name === "join") this.session.local.close();
      return false;
    } finally {
      this.busy.delete(name);
      this.requestUpdate();
    }
  }
}
