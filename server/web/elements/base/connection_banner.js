// A banner while the connection is lost. The clocks of calls and streams run on the server meanwhile.

import { html, nothing } from "./element.js";
import { regionView } from "./notice.js";

export class ConnectionBanner {
  #host;
  #client;
  #off;

  constructor(host) {
    this.#host = host;
    host.addController(this);
  }

  watch(client) {
    this.hostDisconnected();
    this.#client = client;
    this.#off = client.on("state", () => this.#host.requestUpdate());
  }

  hostDisconnected() {
    this.#off?.();
    this.#off = undefined;
  }

  get isLost() {
    return this.#client !== undefined && this.#client.state.name !== "connected";
  }

  view() {
    return regionView(this.isLost ? this.#noticeView() : nothing);
  }

  #noticeView() {
    const { name } = this.#client.state;
    const isOver = name === "closed";
    const text = isOver ? this.#host.t("connection.closed") : this.#host.t("connection.lost");
    return html`<div class="notice warn" part="connection">
      <p>${text}</p>
      ${name === "connecting" ? nothing : this.#buttonView()}
    </div>`;
  }

  #buttonView() {
    return html`<button class="quiet" @click=${this.#reconnect}>${this.#host.t("connection.now")}</button>`;
  }

  #reconnect = () => {
    if (this.#client.state.name === "closed")
      this.#client.connect().catch(() => {}); // the banner remains
    else this.#client.wake();
  };
}
