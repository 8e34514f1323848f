// A stream that is watched or given: the video, the meter of a viewer who pays, the chat, and how to leave or end it.

import { feedView, formView } from "../base/chat_feed.js";
import { localControlsView, lowView, mediaNoticeView } from "../video/controls.js";
import { css, html, nothing } from "../base/element.js";
import { meterView } from "../video/meter.js";
import { moderationView } from "./moderation.js";
import { nameOf, portraitView } from "../base/person.js";
import { videoView } from "../video/playback.js";
import { noticeView, regionView } from "../base/notice.js";

const DIRECT_MAX = 32; // viewers, as the SDK connects them

export function watchingView(element) {
  const { banner, session, moderation, error, info } = element;
  const { isOwner } = session;
  return html`<section class="watching" part="watching" aria-label=${info.title}>
    <div class="main">
      ${banner.view()} ${lowView(element, (figures) => element.t("stream.low", figures))} ${screenView(element)}
      <header>
        <h2>${info.title}</h2>
        <p class="quiet-text tabular" part="viewers">${element.t("stream.viewers", { count: session.viewers })}</p>
      </header>
      ${mediaNoticeView(element)} ${limitView(element)} ${session.meter ? meterOf(element) : nothing}
      ${isOwner ? ownerView(element) : viewerView(element)}
    </div>
    <div class="side">
      ${feedView(element, element.feed, isOwner ? moderation.choose : null)} ${noticeView(element, error, null)}
      ${formView(element, element.chat, element.busy.has("chat"))}
    </div>
    ${isOwner ? moderationView(element, moderation) : nothing}
  </section>`;
}

// Another player of the page replaces the direct video.
function screenView(element) {
  const { session, playback } = element;
  const name = nameOf(element, element.info.creator);
  return html`<slot name="player" @slotchange=${element.slotChanged}
    ><div class="screen" part="screen">
      ${session.remote ? videoView(session.remote, name, { resized: session.resized }) : nothing}
      ${
        session.isOwner && session.local.has("video")
          ? videoView(session.local.stream, element.t("video.own"), { isOwn: true })
          : regionView(coverView(element, name))
      }
      ${playback.view()}
    </div></slot
  >`;
}

function coverView(element, name) {
  const { session } = element;
  if (session.hasPicture && session.ownerIsHere) return nothing;
  return html`<div class="cover" part="cover">
    ${portraitView(name, element.picture)}
    <p>${coverText(element, name)}</p>
  </div>`;
}

function coverText(element, name) {
  const { session } = element;
  if (session.isOwner) return element.t("stream.no-camera");
  if (session.ownerIsHere) return element.t("video.none", { name });
  return session.meter ? element.t("stream.away-metered", { name }) : element.t("stream.away", { name });
}

// The direct video has a limit, which its owner has to know before it is reached.
function limitView(element) {
  const { session, hasPlayer } = element;
  if (hasPlayer || !session.isOwner) return nothing;
  const isReached = session.viewers > DIRECT_MAX;
  return html`<p class=${isReached ? "limit warn" : "limit quiet-text"} part="limit">
    ${element.t("stream.limit", { count: DIRECT_MAX })}
  </p>`;
}

function meterOf(element) {
  const { meter, low } = element.session;
  return meterView(element, {
    seconds: meter.seconds(element.info.blockSeconds),
    blocks: meter.blocks,
    blockSeconds: element.info.blockSeconds,
    tokens: meter.tokens,
    spent: element.t("meter.spent"),
    left: meter.left,
    isLow: low !== null,
  });
}

function viewerView(element) {
  const { info, session, busy } = element;
  const each = { count: element.blockTokens, seconds: info.blockSeconds };
  return html`${
      session.meter
        ? html`<p class="quiet-text tabular" part="rate">
            ${element.t("meter.rate", { count: info.rateTokensPerMin })}, ${element.t("meter.each", each)}.
            ${element.t("stream.stops")}
          </p>`
        : nothing
    }
    <p class="hidden-text" role="status">${blockText(element)}</p>
    <div class="buttons" part="controls">
      <slot name="tip"></slot>
      <button class="quiet" part="leave" data-focus aria-disabled=${busy.has("leave")} @click=${element.leave}>
        ${element.t("stream.leave")}
      </button>
    </div>`;
}

function blockText(element) {
  const { number, count } = element.session.meter?.lastBlock ?? {};
  return number ? element.t("meter.block", { number, count }) : "";
}

function ownerView(element) {
  const { session, moderation } = element;
  return html`<p class="tabular" part="earned">${element.t("stream.earned", { count: session.earned })}</p>
    <div class="buttons" part="controls">
      ${localControlsView(element)}
      <button class="end" part="end" data-focus @click=${() => moderation.choose("end")}>
        ${element.t("stream.end")}
      </button>
    </div>
    ${viewersView(element)}`;
}

function viewersView(element) {
  const { session, feed, moderation } = element;
  const persons = session.viewerIds.map((userId) => ({ userId, displayName: feed.names.get(userId) ?? "" }));
  const person = (each) => {
    const name = each.displayName || element.t("stream.quiet-viewer", { id: each.userId.slice(-4) });
    return html`<li>
      <span>${name}</span>
      <button
        class="quiet more"
        aria-label=${element.t("chat.moderate", { name })}
        @click=${() => moderation.choose({ ...each, displayName: name })}
      >
        ⋯
      </button>
    </li>`;
  };
  return html`<details part="viewer-list">
    <summary>${element.t("stream.viewer-list", { count: persons.length })}</summary>
    ${
      persons.length
        ? html`<ul>
            ${persons.map(person)}
          </ul>`
        : html`<p class="quiet-text">${element.t("stream.nobody")}</p>`
    }
  </details>`;
}

export const streamStyles = css`
  .watching,
  .watching .main,
  .watching .side {
    display: grid;
    gap: 0.75rem;
    align-content: start;
  }
  .watching .side {
    display: flex;
    flex-direction: column;
    min-width: 0;
  }
  .watching header {
    display: flex;
    flex-wrap: wrap;
    align-items: baseline;
    justify-content: space-between;
    gap: 0 1rem;
  }
  .watching header p,
  .watching .main > p {
    margin: 0;
  }
  .watching .screen {
    aspect-ratio: 16 / 9;
  }
  .watching .screen video.own {
    inset: 0;
    width: 100%;
    max-width: none;
    height: 100%;
    border-radius: 0;
  }
  .limit {
    font-size: 0.875rem;
  }
  .limit.warn {
    color: var(--hm-warn, #8a4b00);
  }
  summary {
    min-height: 2.75rem;
    align-content: center;
    cursor: pointer;
  }
  ul {
    margin: 0;
    padding: 0;
    list-style: none;
  }
  li {
    display: flex;
    align-items: center;
    justify-content: space-between;
  }
  @container (min-width: 52rem) {
    .watching {
      grid-template-columns: minmax(0, 1fr) 20rem;
    }
    .feed {
      max-height: 32rem;
    }
  }
`;
