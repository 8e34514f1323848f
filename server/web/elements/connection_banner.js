// Says that the connection is lost, until it is back; the clocks of calls and streams are the server's meanwhile.

import { html, nothing } from "./element.js";

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
    const { name } = this.#client?.state ?? {};
    if (!this.isLost) return nothing;
    const isOver = name === "closed";
    const text = isOver ? this.#host.t("connection.closed") : this.#host.t("connection.lost");
    return html`<div class="notice warn" part="connection" role="status">
      <p>${text}</p>
      ${name === "connecting" ? nothing : html`<button class="quiet" @click=${this.#reconnect}>${this.#host.t("connection.now")}</button>`}
    </div>`;
  }

  #reconnect = () => {
    if (this.#client.state.name === "closed")
      this.#client.connect().catch(() => {}); // the banner stays
    else this.#client.wake();
  };
}
