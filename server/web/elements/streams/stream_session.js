// The room of one stream as an element follows it: media, viewers, warnings, and the meter of a viewer who pays.

import { LocalMedia } from "../video/local_media.js";
import { ViewingMeter } from "./viewing_meter.js";

const TICK_MS = 250;
const BILLED = ["room:joined", "block:charged", "balance:low", "balance:ok", "member:joined", "member:left"];

export class StreamSession {
  #host;
  #client;
  #offs = [];
  #timer;
  #media;
  #shown; // the member whose media is shown: the owner may have joined on several devices

  room = null;
  meter = null;
  local = new LocalMedia();
  remote = null;
  hasPicture = false;
  hasNoMedia = false;
  low = null;
  earned = 0; // tokens, by the owner since the join

  constructor(host) {
    this.#host = host;
  }

  get isOwner() {
    return this.room?.you.role === "owner";
  }

  get ownerIsHere() {
    return !this.meter?.isStopped && this.room.members.some(({ userId }) => userId === this.room.info.creator.userId);
  }

  /** The connections that watch: the owner's are not counted. */
  get viewers() {
    const { members, count, info } = this.room;
    return Math.max(0, count - members.filter(({ userId }) => userId === info.creator.userId).length);
  }

  /** Users who watch, as far as the server lists them. */
  get viewerIds() {
    const { members, info } = this.room;
    return [...new Set(members.map(({ userId }) => userId))].filter((userId) => userId !== info.creator.userId);
  }

  follow(client, room) {
    this.release();
    Object.assign(this, { room, low: null, earned: 0 });
    this.#client = client;
    this.#offs = [
      room.on("*", (event) => this.#take(event)),
      client.on("wallet:changed", () => this.meter?.readSoon()),
    ];
    if (room.you.secondsLeft !== undefined) this.#startMeter();
    this.#host.feed.reset(room.history);
    this.startMedia();
  }

  /** Stops following; the membership is kept. */
  release() {
    for (const off of this.#offs) off();
    this.#offs = [];
    clearInterval(this.#timer);
    this.meter?.close();
    this.stopMedia();
    this.local.close();
    Object.assign(this, { room: null, meter: null });
  }

  /** Connects to the owner or, for the owner, to each viewer; not where the page has a player of its own. */
  async startMedia() {
    if (this.#media || !this.room || this.#host.hasPlayer || !this.#openMedia()) return;
    const media = this.#media;
    if (!this.isOwner) return;
    await this.local.open();
    if (media === this.#media) media.setLocal(this.local.stream);
    this.#host.requestUpdate();
  }

  stopMedia() {
    this.#media?.close();
    this.#media = undefined;
    this.#show(undefined, null);
  }

  resized = ({ target }) => {
    this.hasPicture = target.videoWidth > 0;
    this.#host.requestUpdate();
  };

  #startMeter() {
    this.meter = new ViewingMeter(this.#client, this.room.info.id, () => this.#host.requestUpdate());
    this.meter.readSoon();
    this.#timer = setInterval(() => {
      this.meter.tick(this.room.info.blockSeconds);
      this.#host.requestUpdate();
    }, TICK_MS);
  }

  #take(event) {
    const { type, history } = event;
    if (type === "room:joined") this.#host.feed.reset(history);
    else if (type === "chat:new" || type === "tip:new") this.#host.feed.add(event);
    else if (type === "balance:low") this.low = event;
    else if (type === "balance:ok") this.low = null;
    if (BILLED.includes(type)) this.meter?.readSoon();
    if (this.isOwner) this.#count(event);
    this.#host.took(event);
  }

  #count({ type, tokens, amountTokens }) {
    if (type === "block:charged") this.earned += tokens;
    if (type === "tip:new") this.earned += amountTokens;
  }

  #openMedia() {
    try {
      this.#media = this.#client.media(this.room);
    } catch {
      this.hasNoMedia = true; // the browser has no WebRTC, which the element shows
      return undefined;
    }
    this.#media.on("remote", ({ memberId, stream, track }) => {
      if (!this.isOwner) this.#show(memberId, stream);
      track.onmute = track.onunmute = () => this.meter?.readSoon(); // the owner may be silent, or be back
    });
    this.#media.on("gone", ({ memberId }) => memberId === this.#shown && this.#show(undefined, null));
    this.#media.on("closed", () => (this.#media = undefined));
    return this.#media;
  }

  #show(memberId, stream) {
    this.#shown = memberId;
    this.remote = stream;
    this.hasPicture = false;
    this.#host.requestUpdate();
  }
}
