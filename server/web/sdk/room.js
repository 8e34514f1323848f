// One room: the order of its events, its members, and what they may do. A call is a room with a clock.

import { PASSING, makeKey, sleep } from "./connection.js";
import { Disconnected, Emitter, HalfminuteError } from "./events.js";

const REPEATS_MAX = 10;
const PAUSE_MAX = 20;
const BLOCKS_MAX = 1000;
const READ_MS = 1000;

const PASSES = [...PASSING, "RATE_LIMITED", "TIMEOUT"];
const OUTCOMES = ["declined", "missed", "cancelled"];

export class Room extends Emitter {
  #hm;
  #as;
  #sinceTipId;
  #joining;

  state = "joining";
  epoch = 0;
  seq = 0;
  members = [];
  iceServers = [];

  constructor(hm, channel, { as = "member", sinceTipId } = {}) {
    super();
    this.#hm = hm;
    this.#as = as;
    this.#sinceTipId = sinceTipId;
    this.report = hm.report;
    this.channel = channel;
  }

  tip({ amountTokens, message, key = makeKey() }) {
    return this.#ask("tip:send", { amountTokens, message, key }, { money: true });
  }

  chat(text) {
    return this.#ask("chat:send", { text });
  }

  signal(to, data) {
    return this.#ask("signal:send", { to, data }, { waits: false }); // a late signal is of no use
  }

  mute(userId) {
    return this.#ask("member:mute", { userId });
  }

  remove(userId) {
    return this.#ask("member:remove", { userId });
  }

  async leave() {
    let isInside = !this.isOver;
    this.end();
    await this.#insist(() => isInside && !this.#hm.rooms.has(this.channel), async () => {
      await this.#ask("room:leave", {}, { waits: false }).catch((error) => {
        if (!(error instanceof Disconnected)) throw error; // a resume that does not name the room leaves it, too
      });
      isInside = false;
    });
  }

  #ask(type, fields, options) {
    return this.#hm.ask(type, { channel: this.channel, ...fields }, options);
  }

  enter() {
    this.#joining ??= this.#enter().finally(() => {
      this.#joining = undefined;
      this.#hm.outbox.flush();
    });
    return this.#joining;
  }

  async #enter() {
    try {
      await this.#insist(() => this.state === "joining", () => this.refresh());
    } catch (error) {
      this.end(error);
      throw error;
    }
    if (this.isOver) throw new HalfminuteError("LEFT");
    return this;
  }

  async #insist(isWanted, act) {
    for (let failures = 0; isWanted(); failures++) {
      try {
        await act();
      } catch (error) {
        if (error instanceof Disconnected) failures = -1; // the next attempt waits for a connection
        else if (failures >= REPEATS_MAX || !PASSES.includes(error.code)) throw error;
        else await sleep(this.#hm.clock, 1000 * (error.retryAfter ?? Math.min(2 ** failures / 5, PAUSE_MAX)));
      }
    }
  }

  refresh() {
    return this.#ask("room:join", { as: this.#as, sinceTipId: this.#sinceTipId }, { held: false });
  }

  lose(reason) {
    this.state = "joining";
    this.#emitLost(reason);
    if (!this.isOver) this.enter().catch(() => {});
  }

  #emitLost(reason) {
    this.emit("lost", { type: "lost", channel: this.channel, reason });
  }

  take(event) {
    const { type, seq } = event;
    if (this.isOver) return;
    if (type === "room:joined") this.#joined(event);
    else if (seq === undefined) this.#deliver(event);
    else if (this.state !== "joined" || seq <= this.seq) return; // behind a gap, or repeated
    else if (seq > this.seq + 1) this.lose("gap");
    else {
      this.seq = seq;
      this.#deliver(event);
    }
  }

  #joined(event) {
    const { type, history, iceServers, members, room, ...fields } = event;
    const isAgain = this.epoch > 0;
    const isNext = event.epoch === this.epoch && event.seq === this.seq;
    if (this.state === "joined" && !isNext) this.#emitLost("restarted");
    if (this.isOver) return;
    Object.assign(this, fields, { state: "joined", history, info: room, members: [...members], count: members.length });
    if (iceServers.length) this.iceServers = iceServers; // a restarted room sends none
    this.emit(type, event);
    if (this.#as !== "overlay") return;
    this.#sinceTipId = history.at(-1)?.tipId ?? this.#sinceTipId;
    for (const tip of isAgain ? history : []) this.emit(tip.type, tip);
  }

  #deliver(event) {
    const { type, reason, memberId, userId, count, seq, tipId } = event;
    if (type === "member:joined") this.members.push({ memberId, userId });
    if (type === "member:left") this.members = this.members.filter((member) => member.memberId !== memberId);
    if (type.startsWith("member:") || count) this.count = count ?? this.members.length;
    this.#sinceTipId = tipId ?? this.#sinceTipId;
    this.emit(type, event);
    if (reason === "moved" || reason === "token_expired") this.lose(reason);
    else if (type === "room:closed" || type === "access:revoked" || (type === "call:ended" && seq)) this.end();
  }

  end(error) {
    if (this.isOver) return;
    this.isOver = true;
    this.state = "left";
    if (this.#hm.rooms.get(this.channel) === this) this.#hm.rooms.delete(this.channel);
    this.emit("closed", { type: "closed", channel: this.channel, error });
  }
}

export class Call extends Emitter {
  #hm;
  #left = null; // seconds of the running clock
  #deadline; // by the local clock, while it runs
  #reading;

  status = "ringing";
  holds = [];
  blocks = [];

  constructor(hm, id, channel) {
    super();
    this.#hm = hm;
    this.report = hm.report;
    this.id = id;
    this.channel = channel;
  }

  get role() {
    return this.#hm.userId === this.creator.userId ? "creator" : "fan";
  }

  async accept() {
    await this.#ask("call:accept");
    return this.join();
  }

  decline() {
    return this.#ask("call:decline");
  }

  cancel() {
    return this.#ask("call:cancel");
  }

  pause() {
    return this.#ask("call:pause");
  }

  resume() {
    return this.#ask("call:resume");
  }

  end() {
    return this.#ask("call:end");
  }

  async #ask(type) {
    this.adopt((await this.#hm.ask(type, { callId: this.id })).call);
  }

  join() {
    if (!this.room || this.room.isOver) {
      this.room = this.#hm.roomOf(this.channel);
      this.room.on("*", (event) => this.#takeFromRoom(event));
    }
    return this.room.enter();
  }

  answered() {
    return new Promise((resolve, reject) => {
      const look = () => {
        const isClosed = this.#hm.state.name === "closed";
        if (this.isOver || isClosed) reject(new HalfminuteError("CALL_ENDED", this.ended?.reason, this.ended));
        else if (this.room?.state === "joined") resolve(this.room);
        else return;
        for (const off of offs) off();
      };
      const offs = [this.on("*", look), this.#hm.on("state", look)];
      look();
    });
  }

  receipt() {
    return this.#hm.rest.getBillingCallId({ callId: this.id });
  }

  secondsLeft(at) {
    return this.#deadline === undefined ? this.#left : Math.max(0, (this.#deadline - this.#hm.localTime(at)) / 1000);
  }

  // The end is left to its event, which follows.
  adopt({ fan, creator, rateTokensPerMin, holds = [], startedAt, expiresAt, status = "ringing" }) {
    Object.assign(this, { fan, creator, rateTokensPerMin, startedAt, expiresAt });
    if (!this.isOver && status !== "ended") Object.assign(this, { status, holds });
  }

  // No event follows a state that was read.
  settle(view) {
    const wasRinging = this.status === "ringing";
    this.adopt(view);
    if (view.status === "ended") this.#end({ ...view, type: "call:ended", reason: view.endReason });
    else if (wasRinging && view.status !== "ringing") this.#accepted({ ...view, type: "call:accepted" });
  }

  take(event) {
    const { type, balance, secondsLeft, ref } = event;
    const reason = type.slice(5);
    if (type === "call:ended" || OUTCOMES.includes(reason)) this.#end({ reason, blocks: 0, tokens: 0, ...event });
    else if (type === "call:accepted" && this.status === "ringing") this.#accepted(event);
    else if (type === "wallet:changed") {
      const block = this.blocks.find(({ blockNo }) => blockNo === ref.blockNo); // of the same moment
      this.balance = balance;
      if (secondsLeft !== undefined) this.#count(secondsLeft, block?.chargedAt);
      this.emit(type, event);
    }
  }

  #accepted(event) {
    this.status = "active";
    this.emit(event.type, event);
    if (this.joinsOnAccept) this.join().catch(this.report);
  }

  #takeFromRoom(event) {
    const { type, at, holds, blockNo, tokens, balance, secondsLeft, endsAt } = event;
    if (type === "call:ended") return this.#end(event);
    if (type === "room:joined") this.#joined(event);
    if (type === "block:charged") this.blocks = [...this.blocks, { blockNo, tokens, chargedAt: at }].slice(-BLOCKS_MAX);
    if (type === "closed") this.read();
    if (holds) {
      const left = this.secondsLeft(at);
      this.status = type === "call:paused" ? "paused" : "active";
      this.holds = holds;
      this.startedAt ??= at;
      this.#count(left, at);
    }
    if (type === "balance:low" || type === "balance:ok") {
      this.balance = balance;
      this.#count(secondsLeft);
      if (endsAt) this.#deadline = this.#hm.localTime(endsAt);
    }
    this.emit(type, event);
  }

  #joined({ room, you }) {
    this.adopt(room);
    this.balance = you.balance;
    this.#count(you.secondsLeft ?? null);
    if (room.blocks > this.blocks.length) this.read();
  }

  // From `at`, by the server's clock, or from now.
  #count(left, at) {
    const isRunning = this.status === "active" && this.startedAt && !this.holds.length;
    this.#left = left;
    this.#deadline = isRunning && left !== null ? this.#hm.localTime(at) + left * 1000 : undefined;
  }

  // Only the event of a block says how long the balance lasts.
  noteBalance({ balance }) {
    if (this.#left === null) return;
    this.balance = balance;
    this.read();
  }

  read() {
    if (!this.isOver) this.#reading ??= sleep(this.#hm.clock, READ_MS)
      .then(() => ((this.#reading = undefined), this.receipt()))
      .then(({ call, blocks, secondsLeft }) => {
        if (blocks.length > this.blocks.length) this.blocks = blocks;
        this.settle(call);
        if (!this.isOver && secondsLeft !== undefined) this.#count(secondsLeft);
      })
      .catch(this.report);
  }

  #end({ type, reason, blocks, tokens, activeSeconds }) {
    if (this.isOver) return;
    const left = this.secondsLeft();
    const ended = { reason, blocks, tokens, activeSeconds };
    Object.assign(this, { isOver: true, status: "ended", holds: [], ended });
    this.#count(left);
    this.emit(type, { type, callId: this.id, channel: this.channel, ...ended });
  }
}
