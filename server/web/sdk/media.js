// WebRTC between a room's creator and each other member, negotiated by signals. README.md has the rules.

import { sleep } from "./connection.js";
import { Emitter, HalfminuteError } from "./events.js";

const PEERS_MAX = 32;
const SIGNALS_MAX = 200;
const TRIES_MAX = 5;
const RENEW_BEFORE_MS = 60_000;
const RENEW_MIN_MS = 10_000;
const TIMER_MAX_MS = 2 ** 31 - 1;

const KINDS = ["audio", "video"];
const AWAY = ["DISCONNECTED", "NOT_PRESENT", "NOT_FOUND"];
const OVER = ["CALL_ENDED", "STREAM_ENDED"]; // the room's last event is on its way

export class Media extends Emitter {
  #hm;
  #room;
  #memberId;
  #offs;
  #renewal;
  #isPaused;
  #paused = new Set(); // viewers whose clock is stopped

  peers = new Map();

  constructor(hm, room, { local, rtc = globalThis.RTCPeerConnection } = {}) {
    super();
    if (!rtc) throw new HalfminuteError("NO_WEBRTC");
    Object.assign(this, { local, rtc, report: hm.report, isImpolite: ["creator", "owner"].includes(room.you.role) });
    this.#hm = hm;
    this.#room = room;
    this.#offs = [
      room.on("*", (event) => this.#take(event)),
      hm.on("session:ready", ({ resumed }) => resumed && this.#each((peer) => peer.restart())),
    ];
    this.#begin();
  }

  setLocal(stream) {
    this.local = stream;
    this.#each((peer) => this.#feed(peer));
  }

  close() {
    if (this.isOver) return;
    this.isOver = true;
    for (const off of this.#offs) off();
    this.#hm.clock.clearTimeout(this.#renewal);
    this.#each((peer) => this.#remove(peer));
    this.emit("closed", { type: "closed" });
  }

  get configuration() {
    return { iceServers: this.#room.iceServers };
  }

  #each(act) {
    for (const peer of [...this.peers.values()]) act(peer);
  }

  #begin() {
    const { info, memberId, members } = this.#room;
    const isSame = this.#memberId === memberId;
    this.#memberId = memberId;
    this.#isPaused = info.holds?.length > 0;
    this.#each((peer) => (isSame && members.some((member) => member.memberId === peer.memberId)) || this.#remove(peer));
    for (const member of members) this.#add(member)?.greet();
    this.#each((peer) => peer.connection.setConfiguration(this.configuration));
    this.#renewLater();
  }

  #add({ memberId, userId }) {
    const creatorId = this.#room.info.creator.userId;
    if (memberId === this.#memberId || this.peers.has(memberId)) return;
    if (userId && (userId === creatorId) === this.isImpolite) return;
    if (this.peers.size >= PEERS_MAX) return this.report(new HalfminuteError("TOO_MANY_PEERS"));
    const peer = new Peer(this, this.#hm, this.#room, memberId, userId);
    this.peers.set(memberId, peer);
    this.#feed(peer);
    return peer;
  }

  #remove({ memberId, userId, connection }) {
    this.peers.delete(memberId);
    this.#paused.delete(memberId);
    connection.close();
    this.emit("gone", { type: "gone", memberId, userId });
  }

  // Media during a hold is not paid for.
  #feed(peer) {
    const isStopped = this.#isPaused || this.#paused.has(peer.memberId);
    peer.send((!isStopped && this.local?.getTracks()) || [], this.local);
  }

  #take(event) {
    const { type, memberId, from, data, reason, holds } = event;
    const [noun, verb] = type.split(":");
    if (type === "room:joined") this.#begin();
    else if (type === "closed") this.close();
    else if (type === "lost" && reason !== "gap") this.#memberId = undefined; // to the others, this is a new member
    else if (type === "signal:new") {
      this.#add({ memberId: from });
      this.peers.get(from)?.take(data);
    } else if (holds) {
      this.#isPaused = holds.length > 0;
      this.#each((peer) => this.#continue(peer));
    } else if (noun === "viewer" || noun === "member") {
      if (verb === "joined") this.#add(event);
      if (verb === "paused") this.#paused.add(memberId);
      else this.#paused.delete(memberId);
      const peer = this.peers.get(memberId);
      if (peer) verb === "left" ? this.#remove(peer) : this.#continue(peer);
    }
  }

  #continue(peer) {
    this.#feed(peer);
    if (peer.isBroken) peer.restart();
  }

  // TURN user names begin with the second at which they expire. The answer to a join has new ones.
  #renewLater() {
    const { clock } = this.#hm;
    const ends = this.#room.iceServers.map(({ username }) => parseInt(username) * 1000).filter(Boolean);
    const wait = Math.min(...ends) - clock.now() - RENEW_BEFORE_MS;
    const renew = () => {
      this.#renewLater();
      this.#room.refresh().catch(this.report);
    };
    clock.clearTimeout(this.#renewal);
    if (ends.length) this.#renewal = clock.setTimeout(renew, Math.min(TIMER_MAX_MS, Math.max(RENEW_MIN_MS, wait)));
  }
}

class Peer {
  #media;
  #hm;
  #room;
  #senders = {};
  #signals = [];
  #isSending = false;
  #isIgnoring = false; // a description that is out of date, and its candidates
  #offers = 0; // numbers them and their answers
  #restarts = 0;
  #turn = Promise.resolve(); // a negotiation has one step at a time

  isBroken = false;

  constructor(media, hm, room, memberId, userId) {
    this.#media = media;
    this.#hm = hm;
    this.#room = room;
    const connection = new media.rtc(media.configuration);
    Object.assign(this, { memberId, userId, connection });
    connection.onnegotiationneeded = () => this.#run(() => connection.signalingState === "stable" && this.#describe(++this.#offers));
    connection.onicecandidate = ({ candidate }) => candidate && this.#signal({ candidate });
    connection.oniceconnectionstatechange = () => this.#stateChanged(connection.iceConnectionState);
    connection.ontrack = ({ track, streams: [stream] }) => {
      media.emit("remote", { type: "remote", memberId, userId, stream, track });
    };
  }

  send(tracks, stream) {
    for (const kind of KINDS) {
      const track = tracks.find((each) => each.kind === kind) ?? null;
      const sender = this.#senders[kind];
      if (sender) sender.replaceTrack(track).catch(this.#report);
      else if (track) this.#senders[kind] = this.connection.addTrack(track, stream);
    }
  }

  #run(act) {
    this.#turn = this.#turn.then(act).catch(this.#report);
  }

  async #describe(offer) {
    await this.connection.setLocalDescription();
    this.#signalDescription(offer);
  }

  #signalDescription(offer) {
    this.#signal({ description: this.connection.localDescription, offer });
  }

  // What a member who was here before has sent may have come before this peer was there.
  greet() {
    this.#signal({ restart: true });
  }

  take(data) {
    this.#run(() => this.#handle(data));
  }

  async #handle({ description, offer, candidate, restart }) {
    const { connection } = this;
    if (restart) this.restart();
    // Without a description it belongs to an offer that was lost, of which a restart makes another.
    if (candidate && !this.#isIgnoring && connection.remoteDescription) await connection.addIceCandidate(candidate);
    if (!description) return;
    const isOffer = description.type === "offer";
    const isStable = connection.signalingState === "stable";
    this.#isIgnoring = isOffer ? !isStable && this.#media.isImpolite : offer !== this.#offers;
    if (this.#isIgnoring || (isStable && !isOffer)) return; // an offer that was sent again has two answers
    await connection.setRemoteDescription(description);
    if (isOffer) await this.#describe(offer);
  }

  #stateChanged(state) {
    this.isBroken = state === "failed" || state === "disconnected";
    if (state === "connected") this.#restarts = 0;
    if (state === "failed" && this.#restarts++ < TRIES_MAX) this.restart();
  }

  // The creator's side offers. An offer that is open may be lost, or its answer: it is sent again, and not withdrawn,
  // because a browser that has answered refuses the lines of another first offer.
  restart() {
    this.#signals = [];
    this.isBroken = false;
    this.#run(() => {
      const { connection } = this;
      if (!this.#media.isImpolite) this.#signal({ restart: true });
      else if (connection.remoteDescription) connection.restartIce();
      if (connection.signalingState === "have-local-offer") this.#signalDescription(this.#offers);
    });
  }

  async #signal(data) {
    if (this.#signals.push(data) > SIGNALS_MAX) this.#signals = [];
    if (this.#isSending) return;
    this.#isSending = true;
    while (this.#signals.length) await this.#send(this.#signals.shift());
    this.#isSending = false;
  }

  async #send(data, sends = 1) {
    try {
      await this.#room.signal(this.memberId, data);
    } catch (error) {
      if (error.code === "RATE_LIMITED" && sends < TRIES_MAX) {
        await sleep(this.#hm.clock, error.retryAfter * 1000);
        return this.#send(data, sends + 1);
      }
      this.#signals = [];
      this.isBroken = true; // the return of a member who is away restarts
      if (![...AWAY, ...OVER].includes(error.code)) this.#report(error);
    }
  }

  #report = (error) => this.connection.signalingState === "closed" || this.#hm.report(error);
}
