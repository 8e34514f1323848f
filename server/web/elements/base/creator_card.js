// A creator as a card: picture, name and text.

import { css, html, nothing } from "./element.js";

/** `person` is the creator as a stream names them; `card` the public card, as soon as there is one. */
export function creatorCard(element, { displayName }, card) {
  const name = card?.displayName || displayName || element.t("ticket.unnamed");
  return html`<div class="creator" part="creator">
    ${card?.pictureUrl ? html`<img alt="" src=${addressOf(card.pictureUrl)} @error=${hide} />` : nothing}
    <div>
      <strong>${element.t("ticket.by", { name })}</strong>
      ${card?.about ? html`<p class="quiet-text small">${card.about}</p>` : nothing}
    </div>
  </div>`;
}

// A picture may have a path of the server, from which this module comes as well.
function addressOf(pictureUrl) {
  return new URL(pictureUrl, import.meta.url).href;
}

function hide({ target }) {
  target.hidden = true;
}

export const creatorStyles = css`
  .creator {
    display: flex;
    gap: 0.75rem;
    align-items: center;
    overflow-wrap: anywhere;
  }
  .creator img {
    flex: none;
    width: 3.5rem;
    height: 3.5rem;
    border-radius: 50%;
    background: var(--hm-line, #d5d8df);
    object-fit: cover;
  }
  .creator img[hidden] {
    display: none;
  }
`;
