// A call that rings, and a call that runs: both videos, the meter, and how to pause it or end it.

import { feedView, formView } from "../base/chat_feed.js";
import { localControlsView, lowView, mediaNoticeView } from "../video/controls.js";
import { css, html, nothing } from "../base/element.js";
import { meterView } from "../video/meter.js";
import { portraitView } from "../base/person.js";
import { videoView } from "../video/playback.js";
import { noticeView, regionView } from "../base/notice.js";
import { clock } from "../base/words.js";

export function outgoingView(element) {
  const { call, banner, busy, error } = element;
  return html`<section class="card ringing" part="ringing">
    ${banner.view()} ${portraitView(element.name, element.card?.pictureUrl)}
    <h2 id="calling">${element.t("call.calling", { name: element.name })}</h2>
    <p class="quiet-text tabular">${rateText(element)}. ${element.t("call.rings-for", { time: ringsFor(call) })}</p>
    ${noticeView(element, error, null)}
    <button
      class="end"
      data-focus
      aria-describedby="calling"
      aria-disabled=${busy.has("cancel")}
      @click=${element.cancel}
    >
      ${element.t("call.cancel")}
    </button>
  </section>`;
}

export function incomingView(element) {
  const { call, banner, busy, error } = element;
  return html`<section class="card ringing" part="ringing">
    ${banner.view()} ${portraitView(element.name)}
    <h2 role="alert">${element.t("call.rings", { name: element.name })}</h2>
    <p class="quiet-text tabular">
      ${element.t("call.earns", { count: call.rateTokensPerMin })}
      ${element.t("call.rings-for", { time: ringsFor(call) })}
    </p>
    ${noticeView(element, error, null)}
    <div class="buttons">
      <button class="end" aria-disabled=${busy.has("decline")} @click=${element.decline}>
        ${element.t("call.decline")}
      </button>
      <button data-focus aria-disabled=${busy.has("accept")} @click=${element.accept}>
        ${element.t("call.accept")}
      </button>
    </div>
  </section>`;
}

/** A call that another device of the user holds. */
export function elsewhereView(element) {
  const { banner, busy, error } = element;
  return html`<section class="card ringing" part="elsewhere">
    ${banner.view()} ${portraitView(element.name)}
    <h2 role="status">${element.t("call.elsewhere", { name: element.name })}</h2>
    ${noticeView(element, error, null)}
    <div class="buttons">
      <button class="end" aria-disabled=${busy.has("end")} @click=${element.end}>${element.t("call.end")}</button>
      <button data-focus aria-disabled=${busy.has("join")} @click=${element.join}>${element.t("call.here")}</button>
    </div>
  </section>`;
}

function ringsFor({ expiresAt }) {
  return expiresAt ? clock((Date.parse(expiresAt) - Date.now()) / 1000) : "";
}

export function liveView(element) {
  const { session, banner, playback, error, phase } = element;
  return html`<section class="live" part="live" aria-label=${element.t("call.with", { name: element.name })}>
    ${banner.view()} ${lowView(element, (figures) => element.t("call.low", figures))}
    <div class="screen" part="screen">
      ${session.remote ? videoView(session.remote, element.name, { resized: session.resized }) : nothing}
      ${regionView(coverView(element))}
      ${session.local.has("video") ? videoView(session.local.stream, element.t("video.own"), { isOwn: true }) : nothing}
      ${playback.view()}
    </div>
    <header>
      <h2>${element.name}</h2>
      <p class="quiet-text tabular">${rateText(element)}</p>
    </header>
    ${mediaNoticeView(element)} ${phase === "live" ? callMeterView(element) : nothing}
    ${noticeView(element, error, null)} ${controlsView(element)}
    ${phase === "live" ? chatView(element) : nothing}
    <p class="hidden-text" role="status">${blockText(element)}</p>
  </section>`;
}

function chatView(element) {
  return html`<div class="chat">
    ${feedView(element, element.feed)} ${formView(element, element.chat, element.busy.has("chat"))}
  </div>`;
}

// Nothing beside a video that runs; a cover with the reason where it does not.
function coverView(element) {
  const { session, call, phase } = element;
  if (phase === "live" && call.holds.length === 0 && session.hasPicture) return nothing;
  const text = phase === "joining" ? element.t("call.joins") : holdText(element);
  return html`<div class="cover" part="cover">
    ${portraitView(element.name, call.role === "fan" ? element.card?.pictureUrl : undefined)}
    <p>${text}</p>
  </div>`;
}

function holdText(element) {
  const { role, holds } = element.call;
  const { name } = element;
  const others = role === "fan" ? "creator" : "fan";
  if (holds.includes(role)) return element.t("call.you-paused");
  if (holds.includes(others)) return element.t("call.other-paused", { name });
  if (holds.includes(`absent:${others}`)) return element.t("call.other-away", { name });
  if (holds.length > 0) return element.t("call.server-waits");
  return element.t("video.none", { name });
}

function callMeterView(element) {
  const { session, call } = element;
  return meterView(element, {
    seconds: session.seconds,
    blocks: session.blocks,
    blockSeconds: session.blockSeconds,
    tokens: session.tokens,
    spent: call.role === "fan" ? element.t("meter.spent") : element.t("meter.earned"),
    left: call.secondsLeft(),
    isLow: session.low !== null,
  });
}

function rateText(element) {
  const { call, session } = element;
  const { blockSeconds: seconds } = session;
  const count = Math.ceil((call.rateTokensPerMin * seconds) / 60);
  return `${element.t("meter.rate", { count: call.rateTokensPerMin })}, ${element.t("meter.each", { count, seconds })}`;
}

function controlsView(element) {
  const { call, busy, phase } = element;
  const isPaused = call.holds.includes(call.role);
  const pause = html`<button
    class="quiet"
    part="pause"
    aria-disabled=${busy.has("pause") || busy.has("resume")}
    @click=${isPaused ? element.resume : element.pause}
  >
    ${isPaused ? element.t("call.resume") : element.t("call.pause")}
  </button>`;
  return html`<div class="buttons" part="controls">
    ${call.role === "fan" ? html`<slot name="tip"></slot>` : nothing} ${localControlsView(element)}
    ${phase === "live" ? pause : nothing}
    <button class="end" part="end" data-focus aria-disabled=${busy.has("end")} @click=${element.end}>
      ${busy.has("end") ? element.t("call.ends") : element.t("call.end")}
    </button>
  </div>`;
}

function blockText(element) {
  const { blockNo, tokens } = element.call.blocks.at(-1) ?? {};
  return blockNo ? element.t("meter.block", { number: blockNo, count: tokens }) : "";
}

export const liveStyles = css`
  .live {
    display: grid;
    gap: 0.75rem;
  }
  .chat {
    display: grid;
    gap: 0.5rem;
  }
  .chat .feed {
    min-height: 6rem;
    max-height: 14rem;
  }
  .live header {
    display: flex;
    flex-wrap: wrap;
    align-items: baseline;
    justify-content: space-between;
    gap: 0 1rem;
  }
  .live header p {
    margin: 0;
  }
  .ringing {
    justify-items: center;
    text-align: center;
  }
  .ringing .portrait {
    width: 6rem;
    height: 6rem;
    font-size: 2.25rem;
  }
  .ringing > .end {
    width: 100%;
  }
`;
