// The sound of a call that comes in: two short tones every two seconds, until it is stopped.
//
// A browser plays it only after the person has touched the page once; before, the call is seen and not heard.

const TONES = [659, 523]; // Hz
const TONE_SECONDS = 0.25;
const LOUDNESS = 0.15; // of 1
const REPEAT_MS = 2000;

export class RingTone {
  #context;
  #timer;

  start() {
    if (this.#timer !== undefined) return;
    this.#context ??= new AudioContext();
    this.#context.resume().catch(() => {});
    this.#ring();
    this.#timer = setInterval(() => this.#ring(), REPEAT_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #ring() {
    if (this.#context.state === "running") TONES.forEach((frequency, index) => this.#play(frequency, index * TONE_SECONDS));
  }

  // Without the ramps each tone would begin and end with a click.
  #play(frequency, delay) {
    const context = this.#context;
    const begins = context.currentTime + delay;
    const ends = begins + TONE_SECONDS;
    const tone = new OscillatorNode(context, { frequency });
    const volume = new GainNode(context, { gain: 0 });
    volume.gain.setValueAtTime(0, begins);
    volume.gain.linearRampToValueAtTime(LOUDNESS, begins + 0.02);
    volume.gain.setValueAtTime(LOUDNESS, ends - 0.05);
    volume.gain.linearRampToValueAtTime(0, ends);
    tone.connect(volume).connect(context.destination);
    tone.start(begins);
    tone.stop(ends);
  }
}
