// A page with one element of one person: `begin` adds it, and `dispatched` lists the events that it dispatches.

import "/elements/calls_and_streams.js";
import { useClient } from "/elements/base/client.js";
import { Halfminute } from "/sdk/halfminute.js";

const TYPES = ["call-started", "call-ended", "call-closed", "top-up", "joined", "left", "stream-ended", "ticket"];

export const dispatched = [];
export const sockets = [];
export let hm;

let isWhole = Promise.resolve();
let mend;

class Recorded extends WebSocket {
  constructor(...given) {
    super(...given);
    sockets.push(this);
  }
}

for (const type of TYPES) document.addEventListener(type, ({ detail }) => dispatched.push({ type, ...detail }));

export async function begin(token, tag, attributes, slotted) {
  hm = new Halfminute({ getToken: () => isWhole.then(() => token), webSocket: Recorded });
  await hm.connect();
  useClient(hm);
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  for (const [slot, text] of Object.entries(slotted)) {
    const child = document.createElement("button");
    Object.assign(child, { slot, textContent: text });
    element.append(child);
  }
  document.querySelector("main").append(element);
  hm.on("call:ringing", (call) => call.role === "creator" && (element.call = call));
  return hm.userId;
}

/** Breaks the connection; the client returns after `mendConnection`. */
export function breakConnection() {
  isWhole = new Promise((resolve) => (mend = resolve));
  for (const socket of sockets.splice(0)) socket.close();
}

export function mendConnection() {
  mend();
}

/** Takes calls that the same user begins on another page. */
export function followCalls() {
  hm.on("call:ringing", (call) => (document.querySelector("hm-call").call = call));
}

export async function openCall(callId) {
  document.querySelector("hm-call").call = await hm.calls.open(callId);
}
