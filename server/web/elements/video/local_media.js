// The camera and the microphone of this device, as far as the user allows them.

const WISHES = [{ audio: true, video: { facingMode: "user" } }, { audio: true }];

export class LocalMedia {
  #opening;
  #openings = 0; // counts, so that a stream that arrives after `close` is stopped

  stream = null;
  wasRefused = false;

  /** Asks for camera and microphone, then for the microphone alone. Resolves also if the user refuses both. */
  open() {
    this.#opening ??= this.#open(++this.#openings);
    return this.#opening;
  }

  close() {
    this.#openings++;
    this.#opening = undefined;
    this.#stop(this.stream);
    this.stream = null;
  }

  has(kind) {
    return this.#tracks(kind).length > 0;
  }

  isOn(kind) {
    return this.#tracks(kind).some((track) => track.enabled);
  }

  /** Mutes or unmutes the tracks of a kind; the connection is not touched. */
  toggle(kind) {
    const isOn = this.isOn(kind);
    for (const track of this.#tracks(kind)) track.enabled = !isOn;
  }

  async #open(opening) {
    const stream = await this.#ask();
    if (opening !== this.#openings) return this.#stop(stream);
    this.wasRefused = stream === null;
    this.stream = stream;
  }

  async #ask() {
    for (const wish of WISHES) {
      try {
        return await navigator.mediaDevices.getUserMedia(wish);
      } catch {
        continue; // refused, or no such device, or no secure context
      }
    }
    return null;
  }

  #tracks(kind) {
    return this.stream?.getTracks().filter((track) => track.kind === kind) ?? [];
  }

  #stop(stream) {
    for (const track of stream?.getTracks() ?? []) track.stop();
  }
}
