// A client of the SDK on a fake server and virtual time, and what its application sees.

import { Halfminute } from "../../../server/web/sdk/halfminute.js";
import { Clock } from "./clock.mjs";
import { FakeServer } from "./fake_server.mjs";

export function setUp({ random, ...options } = {}) {
  const clock = new Clock(random);
  const server = new FakeServer(clock);
  const reasons = [];
  const states = [];
  const errors = [];
  const hm = new Halfminute({
    url: "https://fake",
    getToken: (reason) => reasons.push(reason) && `token-${reasons.length}`,
    webSocket: server.webSocket,
    fetch: server.fetch,
    clock,
    ...options,
  });
  hm.on("state", (state) => states.push(state));
  hm.on("error", (error) => errors.push(error));
  return { clock, server, hm, reasons, states, errors };
}

/** The same with an open session. */
export async function connected(options) {
  const client = setUp(options);
  client.hm.connect().catch(() => {});
  await client.clock.pass(100);
  return client;
}

/** The same in a room, with the events of the room in `seen`. */
export async function joined(options, channel = "room") {
  const client = await connected(options);
  client.server.addRoom(channel);
  const joining = client.hm.join(channel);
  await client.clock.pass(100);
  const room = await joining;
  return { ...client, room, seen: record(room) };
}

export function record(emitter) {
  const seen = [];
  emitter.on("*", (event) => seen.push(event));
  return seen;
}

export const types = (events) => events.map((event) => event.type);

/** The error of a promise that is rejected, or its value. */
export const outcome = (promise) => promise.then((value) => ({ value }), (error) => ({ error }));
