// The parts of RTCPeerConnection that negotiation uses: its signalling states, and the events that follow from them.

let made = 0;

export class FakePeer {
  static all = [];

  signalingState = "stable";
  iceConnectionState = "new";
  localDescription = null;
  remoteDescription = null;
  senders = [];
  candidates = [];
  restarts = 0;
  offers = 0;
  #isNeeded = false;
  #isQueued = false;
  #ufrag = `${++made}`; // names the ICE session, which a restart replaces
  #before = null; // the descriptions to which a rollback returns
  #lines; // names the m-lines, which stay from the first negotiation on

  constructor(configuration) {
    this.configuration = configuration;
    FakePeer.all.push(this);
  }

  addTrack(track) {
    const sender = { track, replaceTrack: async (next) => (sender.track = next) };
    this.senders.push(sender);
    this.#need();
    return sender;
  }

  setConfiguration(configuration) {
    this.configuration = configuration;
  }

  restartIce() {
    this.restarts++;
    this.#ufrag = `${++made}`;
    this.#need();
  }

  close() {
    this.isClosed = true;
    this.signalingState = "closed";
  }

  async setLocalDescription(description) {
    await null;
    if (description?.type === "rollback") return this.#rollBack();
    this.#before ??= [this.localDescription, this.remoteDescription];
    if (this.signalingState === "have-remote-offer") {
      const isAgain = this.localDescription?.of === this.remoteDescription.sdp; // the same answer does
      if (!isAgain) this.localDescription = { ...this.#description("answer"), of: this.remoteDescription.sdp };
      this.#becomeStable();
    } else {
      this.offers++;
      this.#lines ??= `${++made}`;
      this.#isNeeded = false;
      this.localDescription = this.#description("offer");
      this.signalingState = "have-local-offer";
    }
    const { ufrag } = this.localDescription;
    return void setImmediate(() => this.onicecandidate?.({ candidate: { candidate: "host", ufrag } }));
  }

  async setRemoteDescription(description) {
    await null;
    if (description.type === "offer") {
      if (this.signalingState === "have-local-offer") this.#rollBack();
      if (this.signalingState !== "stable") throw new Error(`an offer in ${this.signalingState}`);
      if ((this.#lines ??= description.lines) !== description.lines) throw new Error("the lines of another offer");
      this.#before = [this.localDescription, this.remoteDescription];
      this.remoteDescription = description;
      this.signalingState = "have-remote-offer";
    } else {
      if (this.signalingState !== "have-local-offer") throw new Error(`an answer in ${this.signalingState}`);
      if (description.of !== this.localDescription.sdp) throw new Error("an answer to another offer");
      this.remoteDescription = description;
      this.#becomeStable();
    }
  }

  async addIceCandidate(candidate) {
    await null;
    if (this.remoteDescription?.ufrag !== candidate.ufrag) throw new Error("a candidate of another ICE session");
    this.candidates.push(candidate);
  }

  /** Whether both sides have negotiated with each other's newest descriptions. */
  isPairOf(other) {
    const agree = (one, two) => one.localDescription?.sdp === two.remoteDescription?.sdp;
    return this.signalingState === "stable" && other.signalingState === "stable" && agree(this, other) && agree(other, this);
  }

  change(state) {
    this.iceConnectionState = state;
    this.oniceconnectionstatechange?.();
  }

  #description(type) {
    return { type, sdp: `${++made}`, ufrag: this.#ufrag, lines: this.#lines };
  }

  #rollBack() {
    [this.localDescription, this.remoteDescription] = this.#before;
    if (!this.remoteDescription) this.#lines = undefined;
    this.#before = null;
    this.signalingState = "stable";
    this.#need();
  }

  #becomeStable() {
    this.signalingState = "stable";
    this.#before = null;
    if (this.#isNeeded) this.#need();
  }

  #need() {
    this.#isNeeded = true;
    if (this.#isQueued) return;
    this.#isQueued = true;
    setImmediate(() => {
      this.#isQueued = false;
      if (this.#isNeeded && this.signalingState === "stable" && !this.isClosed) this.onnegotiationneeded?.();
    });
  }
}

export function stream(...kinds) {
  const tracks = kinds.map((kind) => ({ kind }));
  return { getTracks: () => tracks };
}
