// The place in the client, as the address's fragment has it: `#/wallet`, `#/call/ID`, `#/stream/ID`, `#/studio/SECTION`,
// `#/operator/SECTION/USER`; home otherwise.

const VIEWS = ["wallet", "call", "stream", "studio", "operator"];

/** The present place: the name of a view, the id or section that it shows, and the detail of it. */
export function presentPlace() {
  const [view, id, detail] = location.hash.replace(/^#\/?/, "").split("/");
  return VIEWS.includes(view) ? { view, id, detail } : { view: "home" };
}

/** The address of a place. */
export const addressOf = (...parts) => `#/${parts.filter(Boolean).join("/")}`;
