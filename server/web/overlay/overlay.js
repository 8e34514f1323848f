// The page `/overlay#token=…` for streaming software: the tips of a creator's live stream over a transparent page.
//
// The token is in the fragment, which browsers send to no server. Add `&lang=de` for German.

import { HalfminuteElement, css, html } from "../elements/base/element.js";
import "../elements/tips/tips_overlay.js";
import { Halfminute, Unauthorized } from "../sdk/halfminute.js";

const LOOK_MS = 5000; // between two looks for a live stream

const given = new URLSearchParams(location.hash.slice(1));

class OverlayPage extends HalfminuteElement {
  static properties = { channel: { state: true }, problem: { state: true } };
  static styles = [
    HalfminuteElement.styles,
    css`
      [role="alert"] {
        margin: 0;
        padding: 1rem;
        background: #101219;
        color: #fff;
      }
    `,
  ];

  #timer;

  begin(client) {
    client.on("state", ({ name, forGood }) => {
      if (name === "closed" && forGood) this.problem = this.t("overlay.refused");
    });
    this.#look();
  }

  render() {
    if (this.problem) return html`<p role="alert">${this.problem}</p>`;
    return html`<hm-tips-overlay
      .client=${this.client}
      .channel=${this.channel}
      lang=${this.lang}
      @over=${this.#lookSoon}
      @failed=${this.#lookSoon}
    ></hm-tips-overlay>`;
  }

  // What passes is not shown: the viewers of the stream would see it.
  async #look() {
    try {
      await this.client.connect();
      const live = await this.client.rest.getStreams({ status: "live", creatorId: this.client.userId, limit: 1 });
      this.channel = live.items[0]?.channel;
    } catch {
      this.channel = undefined;
    }
    if (!this.channel && !this.problem) this.#lookSoon();
  }

  #lookSoon() {
    this.channel = undefined;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), LOOK_MS);
  }
}

function open(page) {
  const token = given.get("token");
  page.lang = given.get("lang") ?? "";
  if (!token) return void (page.problem = page.t("overlay.tokenless"));
  page.client = new Halfminute({
    getToken(reason) {
      if (reason === "unauthenticated") throw new Unauthorized(); // the one token of this page was refused
      return token;
    },
  });
}

customElements.define("hm-overlay-page", OverlayPage);
const page = document.createElement("hm-overlay-page");
open(page);
document.body.append(page);
addEventListener("hashchange", () => location.reload());
