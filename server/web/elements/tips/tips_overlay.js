// <hm-tips-overlay channel>: the tips of a room, one after another, such as over a video.
//
// With the secret of an overlay token as the client's token, `channel` is joined as an overlay, which receives tips
// alone and also those that it missed. In the page of a member, set the property `room` to the joined room instead:
// the element joins nothing then, since a member of a metered stream pays.
// Event `failed` with `error` if the room cannot be joined, and `over` once it is over. Parts: tip, from, tokens,
// message.

import { repeat } from "../../vendor/lit-html/directives/repeat.js";
import { HalfminuteElement, html, nothing } from "../base/element.js";
import { LastTip } from "./last_tip.js";
import { TipQueue } from "./tip_queue.js";
import { overlayStyles } from "./tips_overlay_styles.js";

const MESSAGES_MAX = 3; // of one giver at a time

export class TipsOverlay extends HalfminuteElement {
  static properties = { channel: {}, room: { attribute: false } };
  static styles = [HalfminuteElement.styles, overlayStyles];

  #queue = new TipQueue(() => this.requestUpdate());
  #hm;
  #followed; // the channel or the room
  #joined; // the room that this element has joined and leaves
  #offs = [];

  begin(client) {
    this.#hm = client;
    this.#follow();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#leave();
    this.#queue.clear();
    this.#hm = undefined;
  }

  updated(changed) {
    if (changed.has("channel") || changed.has("room")) this.#follow();
  }

  render() {
    const { shown } = this.#queue;
    return html`<div class="area" role="status" aria-label=${this.t("overlay.title")}>
      ${repeat(
        shown ? [shown] : [],
        ({ id }) => id,
        (tip) => this.#tip(tip),
      )}
    </div>`;
  }

  #tip({ tokens, times, people, name, messages }) {
    const from = people > 1 ? this.t("overlay.people", { people }) : name || this.t("overlay.nobody");
    return html`<div class="tip" part="tip">
      <div class="head">
        <strong part="from" dir="auto">${from}</strong>
        ${times > 1 ? html`<span class="times">${this.t("overlay.times", { times })}</span>` : nothing}
      </div>
      <div class="tokens" part="tokens">${this.t(tokens === 1 ? "money.token" : "tokens", { count: tokens })}</div>
      ${messages.slice(-MESSAGES_MAX).map((text) => html`<p part="message" dir="auto">${text}</p>`)}
    </div>`;
  }

  #follow() {
    const wanted = this.room ?? this.channel;
    if (!this.#hm || wanted === this.#followed) return;
    this.#leave();
    this.#followed = wanted;
    if (this.room) this.#listen(this.room);
    else if (this.channel) this.#join(this.channel);
  }

  async #join(channel) {
    const last = new LastTip(channel);
    try {
      const room = await this.#hm.join(channel, { as: "overlay", sinceTipId: last.read() });
      if (channel !== this.#followed) return void room.leave();
      const isOverlay = room.you.role === "overlay"; // else the page is a member of the room already
      if (isOverlay) this.#joined = room;
      this.#listen(room, isOverlay ? last : undefined);
      for (const tip of isOverlay ? room.history : []) this.#add(tip, last);
    } catch (error) {
      if (channel === this.#followed) this.tell("failed", { error });
    }
  }

  #listen(room, last) {
    this.#offs = [
      room.on("tip:new", (tip) => this.#add(tip, last)),
      room.on("closed", ({ error }) => this.#over(error)),
    ];
  }

  #add(tip, last) {
    this.#queue.add(tip);
    last?.write(tip.tipId);
  }

  // Another room of the same channel may follow, such as after another server has it.
  #over(error) {
    this.#joined = this.#followed = undefined;
    this.tell("over", { error });
  }

  #leave() {
    for (const off of this.#offs.splice(0)) off();
    this.#joined?.leave().catch(() => {}); // the room is over, or the connection
    this.#joined = this.#followed = undefined;
  }
}

customElements.define("hm-tips-overlay", TipsOverlay);
