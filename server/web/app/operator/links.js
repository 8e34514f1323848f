// Links from lists of operators to the pages of users.

import { html } from "../../elements/base/element.js";
import { addressOf } from "../place.js";

/** A link to the page of a user, with the name, or with the beginning of the id where there is none. */
export function userLink(userId, name = "") {
  return html`<a class="user" href=${addressOf("operator", "users", userId)} title=${userId}
    ><bdi>${name || shortId(userId)}</bdi></a
  >`;
}

/** The beginning of an id, which people tell apart. */
export const shortId = (id) => `${id.slice(0, 8)}…`;
