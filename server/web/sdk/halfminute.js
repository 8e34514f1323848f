// The client of a halfminute server. halfminute.d.ts documents all modules; the rest of their names are internal.

import { Connection, Outbox } from "./connection.js";
import { Disconnected, Emitter, HalfminuteError, Unauthorized, errorOf } from "./events.js";
import { Media } from "./media.js";
import { Rest } from "./rest.js";
import { Call, Room } from "./room.js";

export { Call, Disconnected, HalfminuteError, Media, Room, Unauthorized };

const LOGGED_MAX = 100;
const CALLS_MAX = 50;
const REFRESH_MS = 5000;
const REFRESHES_MAX = 10;
const SECRETS = ["token", "credential"];
const WAKING = ["online", "offline", "pageshow", "visibilitychange"];

const CLOCK = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (act, ms) => setTimeout(act, ms),
  clearTimeout: (timer) => clearTimeout(timer),
  random: Math.random,
};

class Calls {
  #hm;
  #byId = new Map();

  constructor(hm) {
    this.#hm = hm;
  }

  async ring({ key, ...wanted }) {
    const { call: view } = await this.#hm.rest.postCallsInit(wanted, { key });
    const call = this.#find(view.id, view.channel);
    call.joinsOnAccept = true;
    call.settle(view);
    return call;
  }

  async open(callId) {
    const { call: view } = await this.#hm.rest.getCallsCallId({ callId });
    const call = this.#find(callId, view.channel);
    call.settle(view);
    if (view.status !== "ringing" && !call.isOver) await call.join();
    return call;
  }

  take(event) {
    const { type, callId, channel, ref, secondsLeft } = event;
    const known = this.#byId.get(callId ?? ref?.callId);
    if (type === "wallet:changed" && secondsLeft === undefined) this.#each((call) => call.noteBalance(event));
    if (known || type !== "call:ringing") return void known?.take(event);
    const call = this.#find(callId, channel);
    call.adopt(event);
    return call;
  }

  // After a break: not all private events are repeated.
  recheck() {
    this.#each((call) => call.room?.isOver === false || call.read());
  }

  #each(act) {
    for (const call of this.#byId.values()) if (!call.isOver) act(call);
  }

  #find(callId, channel) {
    const call = this.#byId.get(callId) ?? new Call(this.#hm, callId, channel);
    const [oldest] = this.#byId.keys();
    if (this.#byId.set(callId, call).size > CALLS_MAX) this.#byId.delete(oldest);
    return call;
  }
}

export class Halfminute extends Emitter {
  #options;
  #sessionId;
  #asking; // getToken, while it runs: one at a time
  #url;
  #offset = Infinity; // from the server's clock
  #logged = new Set();

  rooms = new Map();

  constructor({ url = globalThis.location?.origin, fetch, clock = CLOCK, ...options }) {
    super();
    if (!url || !options.getToken) throw new TypeError("no url or getToken");
    this.#options = options;
    this.clock = clock;
    this.api = `${url.replace(/\/$/, "")}/api`;
    this.fetch = fetch ?? ((...request) => globalThis.fetch(...request));
    this.rest = new Rest(this);
    this.calls = new Calls(this);
    this.outbox = new Outbox(this);
    this.connection = new Connection(this);
  }

  get state() {
    return this.connection.state;
  }

  connect() {
    this.#start();
    return new Promise((resolve, reject) => {
      const look = ({ name }) => {
        if (name === "connected") resolve();
        else if (name === "closed") reject(this.#closedError());
        else return;
        off();
      };
      const off = this.on("state", look);
      look(this.state);
    });
  }

  close() {
    if (this.state.name !== "closed") this.connection.end(1000, "close", false);
  }

  wake = () => {
    if (globalThis.document?.visibilityState !== "hidden") this.connection.wake();
  };

  #start() {
    if (this.state.name !== "closed") return;
    this.#listen("addEventListener");
    this.connection.start();
  }

  #listen(how) {
    for (const type of WAKING) globalThis[how]?.(type, this.wake);
  }

  async join(channel, options) {
    return this.roomOf(channel, options).enter();
  }

  media(target, options) {
    const room = target.room ?? target;
    if (room.state !== "joined") throw new HalfminuteError("NOT_JOINED");
    return new Media(this, room, options);
  }

  roomOf(channel, options) {
    if (!this.state.forGood) this.#start();
    if (!this.rooms.has(channel)) this.rooms.set(channel, new Room(this, channel, options));
    return this.rooms.get(channel);
  }

  async ask(...command) {
    if (this.state.name === "closed") throw this.#closedError();
    return this.outbox.ask(...command);
  }

  #closedError() {
    return new HalfminuteError("CLOSED", this.state.reason, this.state);
  }

  // By the monotonic clock. Without an offset it is now.
  localTime(at) {
    return at && this.#offset < Infinity ? Date.parse(at) + this.#offset : this.clock.monotonic();
  }

  report = (error) => {
    if (!this.emit("error", error)) this.log(error);
  };

  log = (error) => {
    const kind = `${error}`;
    if (this.#logged.size >= LOGGED_MAX || this.#logged.has(kind)) return;
    this.#logged.add(kind);
    console.error("halfminute:", error);
  };

  async address() {
    if (this.#options.websocketUrl) return this.#options.websocketUrl;
    try {
      this.#url = (await this.rest.getConfig()).websocketUrl;
    } catch (error) {
      if (!this.#url) throw error;
    }
    return this.#url;
  }

  dial(url) {
    const { protocol = "json", webSocket = globalThis.WebSocket } = this.#options;
    return new webSocket(url, [`halfminute.v1.${protocol}`]);
  }

  opening() {
    const joined = [...this.rooms.values()].filter((room) => room.state === "joined");
    const channels = joined.map(({ channel, epoch, seq }) => ({ channel, epoch, seq }));
    return this.#sessionId && { resume: { sessionId: this.#sessionId, channels } };
  }

  encode(message) {
    this.#debug("sends", message);
    return (this.#options.msgpack?.encode ?? JSON.stringify)(message);
  }

  decode(data) {
    const { msgpack } = this.#options;
    try {
      const message = msgpack ? msgpack.decode(new Uint8Array(data)) : JSON.parse(data);
      this.#debug("receives", message);
      return message;
    } catch (error) {
      this.report(error);
    }
  }

  #debug(verb, message) {
    const blanked = (name, value) => (SECRETS.includes(name) ? "…" : value);
    if (this.#options.debug) console.debug(`halfminute ${verb}`, JSON.stringify(message, blanked));
  }

  ready(event) {
    this.#sessionId = event.sessionId;
    this.userId = event.userId;
    for (const room of [...this.rooms.values()]) {
      if (room.state === "joined" && (!event.resumed || event.lost.includes(room.channel))) room.lose("resume");
    }
    this.emit(event.type, event);
    this.outbox.flush();
    this.calls.recheck();
  }

  received(event) {
    const { type, seq, at, channel, streamId } = event;
    if (seq !== undefined && at) this.#offset = Math.min(this.#offset, this.clock.monotonic() - Date.parse(at));
    const room = this.rooms.get(channel) ?? [...this.rooms.values()].find(({ info }) => streamId && info?.id === streamId);
    if (type !== "ok" && type !== "error") room?.take(event);
    if (this.outbox.take(event)) return;
    if (type === "room:joined" && !room) this.ask("room:leave", { channel }).catch(this.report);
    else if (seq !== undefined) return;
    else if (type === "error") this.report(errorOf(event));
    else if (type === "token:expiring") this.#refresh(REFRESHES_MAX);
    else this.#emitPrivate(event);
  }

  #emitPrivate(event) {
    const call = this.calls.take(event);
    if (event.type !== "call:ringing") this.emit(event.type, event);
    else if (call) this.emit(event.type, call);
  }

  changed(state) {
    if (state.name === "closed") {
      this.#listen("removeEventListener");
      this.#sessionId = undefined;
      this.outbox.close(() => this.#closedError());
      for (const room of [...this.rooms.values()]) room.end();
    }
    this.emit("state", state);
  }

  askForToken(reason) {
    this.#asking ??= (async () => this.#options.getToken(reason))()
      .then((token) => (this.token = token))
      .catch((error) => {
        if (error instanceof Unauthorized) this.connection.end(4401, error.message);
        throw error;
      })
      .finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  tokenForRest(refused) {
    if (this.token && this.token !== refused) return this.token;
    return this.askForToken(refused ? "unauthenticated" : "request");
  }

  async #refresh(attempts) {
    if (!this.connection.isOpen) return;
    try {
      const token = await this.askForToken("expiring");
      await this.ask("token:refresh", { token }, { waits: false });
      this.connection.token = token;
    } catch (error) {
      if (!this.connection.isOpen || !attempts) return;
      this.report(error);
      this.clock.setTimeout(() => this.#refresh(attempts - 1), REFRESH_MS);
    }
  }
}
