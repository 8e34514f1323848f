// A form for each command of the websocket, and one session that all of them use.

import { token } from "./caller.js";
import { form, labelled, make } from "./elements.js";

const FRAMES_MAX = 100; // shown; of more, the oldest are removed
const PROTOCOL = "halfminute.v1.json";

const frames = make("ol", { "aria-live": "polite" });
let socket;

/** Adds the forms of all commands to their sections, and the frames of the session after the heading of the websocket. */
export function showSession(asyncapi) {
  const place = make("div", {}, make("h3", {}, "Frames of your session"), frames);
  document.getElementById("websocket").after(place);
  for (const message of Object.values(asyncapi.components.messages)) {
    const section = document.getElementById(`command-${message.title}`);
    section?.addEventListener("toggle", () => section.lastElementChild.append(command(message)), { once: true });
  }
}

function command(message) {
  const value = JSON.stringify(message.examples[0].payload, null, 2);
  const field = make("textarea", { rows: 8, spellcheck: false, value });
  return form("Send", () => send(field.value), labelled("Message", field));
}

async function send(text) {
  try {
    const message = JSON.parse(text);
    if (socket?.readyState !== WebSocket.OPEN) socket = await open();
    if (message.type !== "session:open") transmit(JSON.stringify(message)); // the session is open by now
  } catch (error) {
    show(`not sent: ${error.message}`);
  }
}

/** Opens a connection and a session on it, with the token of the page. */
async function open() {
  const { websocketUrl } = await (await fetch("/api/config")).json();
  return new Promise((resolve, reject) => {
    const opening = new WebSocket(websocketUrl, [PROTOCOL]);
    opening.onopen = () => {
      opening.send(JSON.stringify({ type: "session:open", token: token() }));
      show("sent: session:open with the token of this page");
    };
    opening.onmessage = ({ data }) => {
      show(`received: ${data}`);
      resolve(opening);
    };
    opening.onclose = ({ code, reason }) => {
      show(`closed: ${code} ${reason}`);
      reject(new Error("the connection was closed"));
    };
  });
}

function transmit(message) {
  socket.send(message);
  show(`sent: ${message}`);
}

function show(text) {
  frames.append(make("li", {}, make("code", {}, text)));
  while (frames.children.length > FRAMES_MAX) frames.firstElementChild.remove();
}
