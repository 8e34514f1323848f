// The SDK's client that the elements of a page share. An element's own `client` property comes first.

let shared;
let provided;
const waiting = new Promise((resolve) => (provided = resolve));

/** Makes `client` that of all elements without one of their own; a page calls it once, before or after them. */
export function useClient(client) {
  shared = client;
  provided(client);
}

/** Resolves to the client of an element as soon as there is one. */
export async function clientOf(element) {
  return element.client ?? shared ?? (await waiting);
}
