// The place in the client, as the address's fragment has it: `#/wallet`, `#/call/ID`, `#/stream/ID`, `#/studio/SECTION`;
// home otherwise.

const VIEWS = ["wallet", "call", "stream", "studio"];

/** The present place: the name of a view, and the id that it shows. */
export function presentPlace() {
  const [view, id] = location.hash.replace(/^#\/?/, "").split("/");
  return VIEWS.includes(view) ? { view, id } : { view: "home" };
}

/** The address of a place. */
export const addressOf = (view, id) => `#/${[view, id].filter(Boolean).join("/")}`;
