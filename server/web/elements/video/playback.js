// Videos of an element: starts them, and asks for a tap where the browser plays no sound before one.

import { live } from "../../vendor/lit-html/directives/live.js";
import { css, html, nothing } from "../base/element.js";

export class Playback {
  #host;
  #tried = new WeakSet(); // streams that were started once

  isBlocked = false;

  constructor(host) {
    this.#host = host;
    host.addController(this);
  }

  hostUpdated() {
    for (const video of this.#videos()) {
      if (!video.srcObject || this.#tried.has(video.srcObject)) continue;
      this.#tried.add(video.srcObject);
      this.#play(video);
    }
  }

  view() {
    if (!this.isBlocked) return nothing;
    return html`<button class="play" part="play" @click=${this.#playAll}>${this.#host.t("video.play")}</button>`;
  }

  #videos() {
    return this.#host.shadowRoot?.querySelectorAll("video") ?? [];
  }

  #playAll = () => {
    this.isBlocked = false;
    for (const video of this.#videos()) this.#play(video);
    this.#host.requestUpdate();
  };

  async #play(video) {
    try {
      await video.play();
    } catch (error) {
      if (error.name !== "NotAllowedError") return; // the stream was replaced or ended
      this.isBlocked = true;
      this.#host.requestUpdate();
    }
  }
}

/**
 * A video of the other side, or of this one, which is muted and mirrored. `resized` handles the event of the first
 * picture. Without `live`, Lit would set the stream at each update, and the video would start anew.
 */
export function videoView(stream, label, { isOwn = false, resized = null } = {}) {
  return html`<video
    class=${isOwn ? "own" : "other"}
    part=${isOwn ? "own-video" : "video"}
    aria-label=${label}
    autoplay
    playsinline
    .muted=${isOwn}
    .srcObject=${live(stream)}
    @resize=${resized}
  ></video>`;
}

export const videoStyles = css`
  .screen {
    position: relative;
    display: grid;
    place-items: center;
    overflow: hidden;
    aspect-ratio: 3 / 4;
    max-height: 70vh;
    border-radius: var(--hm-radius, 0.75rem);
    background: #101216;
    color: #f2f3f6;
  }
  .screen video.other {
    position: absolute;
    width: 100%;
    height: 100%;
    object-fit: cover;
  }
  .screen video.own {
    position: absolute;
    inset-block-start: 0.75rem;
    inset-inline-end: 0.75rem;
    width: 28%;
    max-width: 11rem;
    border-radius: calc(var(--hm-radius, 0.75rem) / 1.5);
    object-fit: cover;
    transform: scaleX(-1);
  }
  .screen .cover {
    position: absolute;
    inset: 0;
    display: grid;
    align-content: center;
    justify-items: center;
    gap: 0.75rem;
    padding: 1.5rem;
    background: rgb(16 18 22 / 85%);
    text-align: center;
  }
  .screen .cover p {
    max-width: 26rem;
    margin: 0;
  }
  .screen .portrait {
    background: #363c48;
  }
  .screen .play {
    position: absolute;
    inset-block-end: 1rem;
  }
  @container (min-width: 40rem) {
    .screen {
      aspect-ratio: 16 / 9;
    }
  }
`;
