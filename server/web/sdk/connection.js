// One websocket at a time, which is replaced when it is lost, and the commands that wait for their answers.

import { Disconnected, HalfminuteError, errorOf } from "./events.js";

const PAUSE_MIN_MS = 250;
const PAUSE_MAX_MS = 20_000;
const GROWTH = 3; // of a pause: a thousand clients of a server that is away for a second return over more than five
const STABLE_MS = 5000;
const WAKE_MS = 1000;
const ATTEMPT_MS = 30_000;
const REFUSALS_MAX = 3;
const PROBE_MS = 3000;
const LOOK_MS = 5000;
const LATE_MS = 2000;

const COMMANDS_MAX = 256;
const SENDS_MAX = 5;
const COMMAND_MS = 20_000;
const MONEY_MS = 120_000;
const REPEAT_MS = 1000;

const LOSSES = [1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015];
const UNAUTHENTICATED = 4401;

// Refusals that pass. They may leave open what happened; the same key finds out.
export const PASSING = ["STORAGE_UNAVAILABLE", "OVERLOADED", "DRAINING", "ROOM_STARTING"];

export const makeKey = () => globalThis.crypto?.randomUUID?.() ?? [1, 2, 3].map(Math.random).join();

export const pauseAfter = (failures, random) => random() * Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * GROWTH ** failures);

export const sleep = (clock, ms) => new Promise((resolve) => clock.setTimeout(resolve, ms));

export class Connection {
  #hm;
  #clock;
  #socket;
  #attempt = 0;
  #attemptedAt;
  #failures = 0;
  #heardAt;
  #isProbing = false;
  #quietMs;
  #timer;
  #refused; // a token, which is never sent again
  #refusals = 0;

  isOpen = false;
  state = { name: "closed", code: null, reason: "", forGood: false };

  constructor(hm) {
    this.#hm = hm;
    this.#clock = hm.clock;
  }

  start() {
    this.#failures = this.#refusals = 0;
    this.#connect();
  }

  wake() {
    const now = this.#clock.now();
    const { retryAt } = this.state;
    if (this.isOpen) this.#probe();
    else if (retryAt > now) this.#waitFor(Math.max(0, Math.min(retryAt, this.#attemptedAt + WAKE_MS) - now));
  }

  send(message) {
    if (this.isOpen) this.#transmit(message);
    return this.isOpen;
  }

  #transmit(message) {
    this.#socket.send(this.#hm.encode(message));
  }

  async #connect() {
    const attempt = ++this.#attempt;
    this.#attemptedAt = this.#clock.now();
    this.#set({ name: "connecting" });
    try {
      this.#schedule(ATTEMPT_MS, () => this.#drop());
      const token = await this.#hm.askForToken(this.#refused ? "unauthenticated" : "connect");
      if (token === this.#refused && ++this.#refusals) throw new HalfminuteError("STALE_TOKEN");
      const url = await this.#hm.address();
      if (attempt === this.#attempt) this.#dial(url, token);
    } catch (error) {
      if (attempt !== this.#attempt) return;
      this.#hm.report(error);
      this.#wait();
    }
  }

  #dial(url, token) {
    const socket = (this.#socket = this.#hm.dial(url));
    this.token = token;
    const present = (act) => (event) => socket === this.#socket && act(event);
    socket.binaryType = "arraybuffer";
    socket.onopen = present(() => this.#transmit({ type: "session:open", token, ...this.#hm.opening() }));
    socket.onmessage = present(({ data }) => this.#receive(data));
    socket.onclose = present(({ code, reason }) => this.#closed(code, reason));
    socket.onerror = () => {}; // a close event follows
  }

  #receive(data) {
    this.#heardAt = this.#clock.now();
    this.#isProbing = false;
    const event = this.#hm.decode(data);
    if (event?.type === "session:ready") this.#open(event);
    else if (event) this.#hm.received(event);
  }

  #open(event) {
    this.isOpen = true;
    this.#refused = undefined;
    this.#refusals = 0;
    this.#quietMs = event.heartbeatSeconds * 1000;
    this.#watch();
    this.state = { name: "connected" };
    this.#hm.ready(event);
    if (this.isOpen) this.#hm.changed(this.state);
  }

  // A browser answers the server's pings unseen: a quiet connection is asked by a ping of our own.
  #watch() {
    const now = this.#clock.now();
    const quietAt = this.#heardAt + (this.#hm.rooms.size ? LOOK_MS : this.#quietMs);
    const wait = Math.min(LOOK_MS, Math.max(0, quietAt - now));
    this.#schedule(wait, () => {
      const slept = this.#clock.now() > now + wait + LATE_MS;
      if (slept || this.#clock.now() >= quietAt) this.#probe();
      else this.#watch();
    });
  }

  #probe() {
    if (this.#isProbing) return;
    this.#isProbing = true;
    this.#transmit({ type: "ping" });
    this.#schedule(PROBE_MS, () => (this.#isProbing ? this.#drop() : this.#watch()));
  }

  #closed(code, reason) {
    this.#detach();
    const isRefused = code === UNAUTHENTICATED;
    if (isRefused) this.#refused = this.token;
    const mayReturn = LOSSES.includes(code) || (code >= 4000 && code <= 4099);
    if ((isRefused && ++this.#refusals < REFUSALS_MAX) || mayReturn) this.#wait();
    else this.end(code, reason);
  }

  #drop() {
    this.#detach(4000);
    this.#wait();
  }

  #detach(code) {
    const { isOpen } = this;
    const socket = this.#socket;
    if (isOpen && this.#clock.now() - this.#attemptedAt >= STABLE_MS) this.#failures = 0;
    this.#socket = undefined;
    this.isOpen = this.#isProbing = false;
    if (code) socket?.close(code);
    if (isOpen) this.#hm.outbox.lose();
  }

  end(code, reason, forGood = true) {
    this.#attempt++;
    this.#clock.clearTimeout(this.#timer);
    this.#detach(1000);
    this.#set({ name: "closed", code, reason, forGood });
  }

  #wait() {
    if (this.#refusals >= REFUSALS_MAX) this.end(UNAUTHENTICATED, "every token is refused");
    else this.#waitFor(pauseAfter(this.#failures++, this.#clock.random));
  }

  #waitFor(ms) {
    this.#attempt++;
    this.#schedule(ms, () => this.#connect());
    this.#set({ name: "waiting", retryAt: this.#clock.now() + ms });
  }

  #schedule(ms, act) {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = this.#clock.setTimeout(act, ms);
  }

  #set(state) {
    this.state = state;
    this.#hm.changed(state);
  }
}

export class Outbox {
  #hm;
  #clock;
  #commands = new Map(); // by ref
  #refs = 0;

  constructor(hm) {
    this.#hm = hm;
    this.#clock = hm.clock;
  }

  async ask(type, fields, { money, waits = true, held = true } = {}) {
    if (this.#commands.size >= COMMANDS_MAX) throw new HalfminuteError("OUTBOX_FULL");
    return new Promise((resolve, reject) => {
      const ref = `r${++this.#refs}`;
      const command = { message: { type, ...fields, ref }, money, held, resolve, reject, sends: 0 };
      this.#commands.set(ref, command);
      command.limit = this.#clock.setTimeout(() => this.#expire(command), money ? MONEY_MS : COMMAND_MS);
      this.#send(command);
      if (!waits && !command.isSent) this.#reject(command, new Disconnected());
    });
  }

  take(event) {
    const command = this.#commands.get(event.ref);
    if (!command) return false;
    const isOpen = PASSING.includes(event.error) || event.error === "INTERNAL";
    if (event.type !== "error") this.#settle(command, command.resolve, event);
    else if (this.#mayRepeat(command) && isOpen) this.#sendLater(command, event.retryAfterSeconds * 1000 || REPEAT_MS);
    else this.#reject(command, errorOf(event));
    return true;
  }

  #isJoining(channel) {
    return this.#hm.rooms.get(channel)?.state === "joining";
  }

  #mayRepeat({ money, sends }) {
    return money && sends < SENDS_MAX;
  }

  flush() {
    for (const command of this.#commands.values()) this.#send(command);
  }

  lose() {
    for (const command of this.#commands.values()) {
      if (!command.isSent) continue;
      if (this.#mayRepeat(command)) this.#hold(command);
      else this.#reject(command, new Disconnected());
    }
  }

  close(makeError) {
    for (const command of this.#commands.values()) this.#reject(command, makeError());
  }

  #send(command) {
    const { message, again, held, money, isSent } = command;
    if (isSent || again || (held && this.#isJoining(message.channel)) || !this.#hm.connection.send(message)) return;
    command.sends++;
    if (money) this.#sendLater(command, COMMAND_MS); // an answer may be lost, too
    command.isSent = true;
  }

  #sendLater(command, ms) {
    this.#hold(command);
    command.again = this.#clock.setTimeout(() => {
      this.#hold(command);
      if (this.#mayRepeat(command)) this.#send(command);
      else this.#expire(command);
    }, ms);
  }

  #hold(command) {
    this.#clock.clearTimeout(command.again);
    command.again = command.isSent = undefined;
  }

  #expire(command) {
    this.#reject(command, command.sends ? new HalfminuteError("TIMEOUT") : new Disconnected());
  }

  #reject(command, error) {
    if (command.money) error.key = command.message.key;
    this.#settle(command, command.reject, error);
  }

  #settle(command, settle, value) {
    this.#hold(command);
    this.#clock.clearTimeout(command.limit);
    this.#commands.delete(command.message.ref);
    settle(value);
  }
}
