// Keeps the keyboard focus in an element whose focused button an update removes.

export class FocusKeeper {
  #host;
  #hadFocus = false;

  constructor(host) {
    this.#host = host;
    host.addController(this);
  }

  hostUpdate() {
    this.#hadFocus = Boolean(this.#host.shadowRoot?.activeElement);
  }

  hostUpdated() {
    const { shadowRoot } = this.#host;
    if (this.#hadFocus && !shadowRoot.activeElement) shadowRoot.querySelector("[data-focus]")?.focus();
  }
}
