// A small server in memory: sessions, rooms with histories, tips under keys, and the faults of a network.

const LATENCY_MS = 5;
const HEARTBEAT_SECONDS = 20;

export class FakeServer {
  #clock;
  #ids = 1;
  sockets = []; // every one that was dialled, in order
  sessions = new Map();
  rooms = new Map();
  moved = []; // the tips that moved tokens
  tips = new Map(); // by key
  received = []; // every command, in order
  requests = []; // every REST request
  answers = new Map(); // of REST by "METHOD /path": a function of the request
  refusals = new Map(); // of commands by type: errors that are answered next
  refusedTokens = new Set();
  userOf = () => "me"; // by token
  isAway = false; // refuses handshakes
  historyMax = 1000;

  constructor(clock) {
    this.#clock = clock;
    const server = this;
    this.webSocket = class extends FakeSocket {
      constructor(url, protocols) {
        super(server, clock, url, protocols);
      }
    };
    this.answers.set("GET /config", () => ({ websocketUrl: "ws://fake/ws" }));
    this.fetch = (url, init) => this.#answer(url, init);
  }

  get at() {
    return new Date(this.#clock.now()).toISOString();
  }

  get socket() {
    return this.sockets.at(-1);
  }

  id(kind) {
    return `${kind}-${this.#ids++}`;
  }

  commands(type) {
    return this.received.filter((command) => command.type === type);
  }

  // Rooms

  addRoom(channel, info = { kind: "stream", id: `id-${channel}`, creator: { userId: "creator" } }) {
    this.rooms.set(channel, { channel, info, epoch: 1, seq: 0, n: 0, history: [], members: new Map(), you: { role: "viewer" } });
  }

  /** Publishes an event to a room. `n` counts its events over all epochs. */
  publish(channel, event = { type: "chat:new", text: "hello" }) {
    const room = this.rooms.get(channel);
    const sent = { channel, seq: ++room.seq, at: this.at, n: ++room.n, ...event };
    room.history = [...room.history, sent].slice(Math.max(0, room.history.length + 1 - this.historyMax));
    for (const session of room.members.values()) session.socket?.push(sent);
    return sent;
  }

  /** Restarts a room under a new epoch: its connected members rejoin, others are removed. */
  restart(channel) {
    const room = this.rooms.get(channel);
    Object.assign(room, { epoch: room.epoch + 1, seq: 0, history: [] });
    for (const session of [...room.members.values()]) {
      if (!session.socket) room.members.delete(session.id);
      else this.publish(channel, { type: "member:joined", memberId: `member-${session.id}`, userId: session.userId });
    }
    for (const session of room.members.values()) session.socket.push({ ...this.#joined(room, session), iceServers: [] });
  }

  #joined(room, session) {
    const members = [...room.members.values()].map(({ id, userId }) => ({ memberId: `member-${id}`, userId }));
    const { channel, info, epoch, seq, you, iceServers = [] } = room;
    const place = { channel, room: info, memberId: `member-${session.id}`, members, history: room.recent ?? [] };
    return { type: "room:joined", ...place, epoch, seq, you: room.youOf?.(session.userId) ?? you, iceServers };
  }

  // Sessions

  open(socket, { token, resume, ref }) {
    if (this.refusedTokens.has(token)) return socket.closeByServer(4401, "token refused");
    const known = resume && this.sessions.get(resume.sessionId);
    const session = known ?? { id: this.id("session"), userId: this.userOf(token), socket: null };
    this.sessions.set(session.id, session);
    session.socket?.closeByServer(4409, "replaced");
    session.socket = socket;
    socket.session = session;
    const points = resume?.channels ?? [];
    const backlogs = known ? points.map((point) => this.#missed(session, point)).filter(Boolean) : [];
    const continued = new Set(backlogs.map(({ channel }) => channel));
    const lost = points.map(({ channel }) => channel).filter((channel) => !continued.has(channel));
    for (const room of this.rooms.values()) if (!continued.has(room.channel)) this.#leave(room, session);
    const missed = backlogs.map(({ channel, events }) => ({ channel, count: events.length }));
    const ready = { sessionId: session.id, userId: session.userId, heartbeatSeconds: HEARTBEAT_SECONDS };
    socket.push({ type: "session:ready", ref, ...ready, tokenExpiresAt: this.at, resumed: Boolean(known), missed, lost });
    for (const { events } of backlogs) for (const event of events) socket.push(event);
    return undefined;
  }

  #missed(session, { channel, epoch, seq }) {
    const room = this.rooms.get(channel);
    const isKept = room?.members.has(session.id) && room.epoch === epoch && seq >= room.seq - room.history.length;
    return isKept ? { channel, events: room.history.filter((event) => event.seq > seq) } : null;
  }

  #leave(room, session) {
    if (room.members.delete(session.id)) this.publish(room.channel, { type: "member:left", memberId: `member-${session.id}` });
  }

  /** Forgets a session, as a server that stops does. */
  forget(session) {
    this.sessions.delete(session.id);
    session.socket?.closeByServer(4000, "draining");
    for (const room of this.rooms.values()) this.#leave(room, session);
  }

  take(socket, message) {
    this.received.push(message);
    if (!socket.session) return this.open(socket, message);
    const refusal = this.refusals.get(message.type)?.shift();
    if (refusal) return socket.push({ type: "error", ref: message.ref, message: refusal.error, ...refusal });
    const carriedOut = this[`on:${message.type}`]?.(socket, message) ?? {};
    if (carriedOut) socket.push({ type: "ok", ref: message.ref, ...carriedOut });
    return undefined;
  }

  "on:ping"(socket, { ref }) {
    socket.push({ type: "pong", ref });
    return false;
  }

  "on:room:join"(socket, { ref, channel }) {
    const room = this.rooms.get(channel);
    const { session } = socket;
    if (!room) return socket.push({ type: "error", ref, error: "NOT_FOUND", status: 404, message: "No such room" }), false;
    if (!room.members.has(session.id)) {
      this.publish(channel, { type: "member:joined", memberId: `member-${session.id}`, userId: session.userId });
      room.members.set(session.id, session);
    }
    socket.push({ ...this.#joined(room, session), ref });
    return false;
  }

  "on:room:leave"({ session }, { channel }) {
    const room = this.rooms.get(channel);
    if (room) this.#leave(room, session);
    return { channel };
  }

  "on:tip:send"(socket, { ref, channel, key, amountTokens, message }) {
    const isMember = this.rooms.get(channel)?.members.has(socket.session.id);
    if (!this.tips.has(key) && !isMember) {
      return socket.push({ type: "error", ref, error: "NOT_FOUND", status: 404, message: "No such room" }), false;
    }
    if (!this.tips.has(key)) {
      const tip = { tipId: this.id("tip"), amountTokens, message };
      this.tips.set(key, tip);
      this.moved.push(tip);
      this.publish(channel, { type: "tip:new", ...tip });
    }
    return { tip: this.tips.get(key), wallet: { balance: 100 } };
  }

  "on:signal:send"(socket, { ref, channel, to, data }) {
    const { session } = socket;
    const receiver = [...this.rooms.get(channel).members.values()].find(({ id }) => `member-${id}` === to);
    if (receiver?.socket) receiver.socket.push({ type: "signal:new", channel, from: `member-${session.id}`, data });
    else socket.push({ type: "error", ref, error: "NOT_PRESENT", status: 409, message: "One of the two is not present" });
    return receiver?.socket ? {} : false;
  }

  "on:chat:send"(socket, { channel, text }) {
    this.publish(channel, { type: "chat:new", text });
    return {};
  }

  // REST

  async #answer(url, { method, headers, body, signal }) {
    const [path, query = ""] = url.slice(url.indexOf("/api") + 4).split("?");
    const request = { method, path, query, headers, body: body && JSON.parse(body), signal };
    this.requests.push(request);
    const { status = 200, headers: more = {}, ...given } = (await this.answers.get(`${method} ${path}`)?.(request)) ?? { status: 404 };
    const type = status < 400 ? "application/json" : "application/problem+json";
    return new Response(JSON.stringify(given), { status, headers: { "Content-Type": type, ...more } });
  }
}

class FakeSocket {
  #clock;
  #server;
  isDeaf = false; // the server does not receive
  isMute = false; // the server's frames are lost
  isClosed = false;
  session = null;

  constructor(server, clock, url, protocols) {
    Object.assign(this, { url, protocols });
    this.#server = server;
    this.#clock = clock;
    server.sockets.push(this);
    this.#later(() => (server.isAway ? this.cut() : this.onopen?.({})));
  }

  // The client's side

  send(data) {
    if (!this.isDeaf) this.#later(() => this.#server.take(this, JSON.parse(data)));
  }

  close(code) {
    this.closedWith = code;
    this.#end();
  }

  // The server's side

  push(event) {
    if (this.isMute || this.isClosed) return;
    const data = JSON.stringify(event);
    this.#later(() => this.onmessage?.({ data }));
  }

  closeByServer(code, reason = "") {
    this.#later(() => this.cut(code, reason));
    if (this.session?.socket === this) this.session.socket = null;
  }

  /** The connection breaks: frames that are on the way are lost. */
  cut(code = 1006, reason = "") {
    if (this.isClosed) return;
    this.#end();
    this.onclose?.({ code, reason });
  }

  #end() {
    this.isClosed = true;
    if (this.session?.socket === this) this.session.socket = null;
  }

  #later(act) {
    this.#clock.setTimeout(() => this.isClosed || act(), LATENCY_MS);
  }
}
