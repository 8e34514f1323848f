// The connection: its states, its pauses, close codes, tokens, and how a dead one is noticed.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Unauthorized } from "../../../server/web/sdk/halfminute.js";
import { connected, joined, outcome, setUp } from "./client.mjs";

const names = (states) => states.map(({ name }) => name);

const globals = {};

/** Gives the global object the methods of a page for one test. */
function pretendPage() {
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
  globals.page = page;
  return page;
}

afterEach(() => {
  delete globalThis.addEventListener;
  delete globalThis.removeEventListener;
});

test("a client connects with the address of the server's settings and the JSON subprotocol", async () => {
  const { hm, server, states, reasons } = await connected();
  assert.deepEqual(names(states), ["connecting", "connected"]);
  assert.equal(server.socket.url, "ws://fake/ws");
  assert.deepEqual(server.socket.protocols, ["halfminute.v1.json"]);
  assert.deepEqual(reasons, ["connect"]);
  assert.equal(hm.userId, "me");
});

test("MessagePack is encoded by the application's functions", async () => {
  const bytes = { encode: (message) => JSON.stringify(message), decode: (data) => JSON.parse(new TextDecoder().decode(data)) };
  const { server, states } = setUpWithBytes({ protocol: "msgpack", msgpack: bytes });
  const socket = await server;
  assert.deepEqual(socket.protocols, ["halfminute.v1.msgpack"]);
  assert.equal(socket.binaryType, "arraybuffer");
  assert.deepEqual(names(states), ["connecting", "connected"]);
});

function setUpWithBytes(options) {
  const client = setUp(options);
  const Plain = client.server.webSocket;
  client.server.webSocket = null;
  class Bytes extends Plain {
    set onmessage(act) {
      this.act = ({ data }) => act({ data: new TextEncoder().encode(data).buffer });
    }
    get onmessage() {
      return this.act;
    }
  }
  const again = setUp({ ...options, webSocket: Bytes, clock: client.clock, fetch: client.server.fetch });
  const opened = again.hm.connect().then(() => client.server.socket);
  return { server: client.clock.pass(100).then(() => opened), states: again.states };
}

test("a lost connection comes back after a pause that is announced", async () => {
  const { hm, server, clock, states, reasons } = await connected();
  server.socket.cut();
  assert.equal(hm.state.name, "waiting");
  assert.equal(hm.state.retryAt, clock.now() + 100); // half of at most 200 ms
  await clock.pass(200);
  assert.deepEqual(names(states), ["connecting", "connected", "waiting", "connecting", "connected"]);
  assert.deepEqual(reasons, ["connect", "connect"]);
});

test("pauses are random up to a limit that doubles from 0.2 s to 20 s", async () => {
  const draws = [0.999, 0.001, 0.5];
  let drawn = 0;
  const { clock, server, states } = setUp({ random: () => draws[drawn++ % draws.length] });
  server.isAway = true;
  const { hm } = setUp({ clock, webSocket: server.webSocket, fetch: server.fetch });
  const pauses = [];
  hm.on("state", (state) => state.name === "waiting" && pauses.push(state.retryAt - clock.now()));
  hm.connect().catch(() => {});
  await clock.pass(200_000);
  const limits = pauses.map((pause, i) => pause / draws[i % draws.length]);
  assert.deepEqual(limits.slice(0, 9).map(Math.round), [200, 400, 800, 1600, 3200, 6400, 12800, 20000, 20000]);
  assert.equal(states.length, 0);
});

test("failures count on while connections break at once, and end with a stable one", async () => {
  const { clock, server, hm } = await connected();
  const pauses = [];
  hm.on("state", (state) => state.name === "waiting" && pauses.push(state.retryAt - clock.now()));
  for (let i = 0; i < 3; i++) {
    server.socket.cut();
    await clock.pass(pauses.at(-1) + 50);
  }
  await clock.pass(6000);
  server.socket.cut();
  assert.deepEqual(pauses, [100, 200, 400, 100]);
});

for (const code of [1001, 1005, 1006, 1011, 1012, 1013, 4000, 4001, 4002, 4003, 4099]) {
  test(`close code ${code} is followed by another connection`, async () => {
    const { server, clock, hm } = await connected();
    server.socket.closeByServer(code);
    await clock.pass(1000);
    assert.equal(hm.state.name, "connected");
    assert.equal(server.sockets.length, 2);
  });
}

for (const code of [1000, 1002, 1007, 1009, 4400, 4403, 4408, 4409, 4429, 4499]) {
  test(`close code ${code} ends the client for good`, async () => {
    const { server, clock, hm } = await connected();
    server.socket.closeByServer(code, "why");
    await clock.pass(60_000);
    assert.deepEqual(hm.state, { name: "closed", code, reason: "why", forGood: true });
    assert.equal(server.sockets.length, 1);
    assert.equal((await outcome(hm.join("room"))).error.code, "CLOSED");
  });
}

test("after 4401 another token is asked for, and the refused one is never sent again", async () => {
  const { server, clock, hm, reasons } = await connected();
  server.refusedTokens.add("token-1");
  server.socket.closeByServer(4401, "token expired");
  await clock.pass(1000);
  assert.equal(hm.state.name, "connected");
  assert.deepEqual(reasons, ["connect", "unauthenticated"]);
  assert.deepEqual(server.commands("session:open").map(({ token }) => token), ["token-1", "token-2"]);
});

test("a getToken that returns the refused token again ends the client instead of a loop", async () => {
  const { server, clock, hm } = setUp({ getToken: () => "stale" });
  server.refusedTokens.add("stale");
  hm.connect().catch(() => {});
  await clock.pass(600_000);
  assert.equal(hm.state.name, "closed");
  assert.equal(hm.state.code, 4401);
  assert.equal(server.commands("session:open").length, 1);
});

test("tokens that are all refused end the client after three", async () => {
  const { server, clock, hm } = setUp();
  server.refusedTokens.has = () => true;
  const opening = outcome(hm.connect());
  await clock.pass(600_000);
  assert.equal(server.commands("session:open").length, 3);
  assert.equal(hm.state.forGood, true);
  assert.equal((await opening).error.code, "CLOSED");
});

test("Unauthorized from getToken stops for good, any other error is retried", async () => {
  let asked = 0;
  const getToken = () => {
    if (++asked < 3) throw new Error("the identity provider is away");
    throw new Unauthorized("signed out");
  };
  const { clock, hm, errors } = setUp({ getToken });
  hm.connect().catch(() => {});
  await clock.pass(60_000);
  assert.equal(asked, 3);
  assert.deepEqual(errors.map(({ message }) => message), Array(2).fill("the identity provider is away"));
  assert.deepEqual(hm.state, { name: "closed", code: 4401, reason: "signed out", forGood: true });
});

test("a getToken that never answers is asked again, but not twice at once", async () => {
  let asked = 0;
  const { clock, hm } = setUp({ getToken: () => (asked++, new Promise(() => {})) });
  hm.connect().catch(() => {});
  await clock.pass(31_000);
  assert.equal(hm.state.name, "connecting");
  assert.equal(asked, 1);
});

test("an expiring token is refreshed on the open connection", async () => {
  const { server, clock, states, reasons } = await connected();
  server.socket.push({ type: "token:expiring", expiresAt: server.at });
  await clock.pass(1000);
  assert.deepEqual(reasons, ["connect", "expiring"]);
  assert.equal(server.commands("token:refresh")[0].token, "token-2");
  assert.deepEqual(names(states), ["connecting", "connected"]);
});

test("a refresh that fails is tried again before the token expires", async () => {
  let fails = true;
  const { server, clock } = await connected({ getToken: (reason) => {
    if (reason === "expiring" && fails) throw new Error("away");
    return "new";
  } });
  server.socket.push({ type: "token:expiring", expiresAt: server.at });
  await clock.pass(12_000);
  assert.equal(server.commands("token:refresh").length, 0);
  fails = false;
  await clock.pass(5000);
  assert.equal(server.commands("token:refresh").length, 1);
});

for (const reason of ["expiring", "request"]) {
  test(`Unauthorized stops for good also when a token is asked for as ${reason}`, async () => {
    const getToken = (asked) => {
      if (asked !== "connect") throw new Unauthorized("signed out");
      return "token";
    };
    const { server, clock, hm } = await connected({ getToken });
    if (reason === "expiring") server.socket.push({ type: "token:expiring", expiresAt: server.at });
    else server.answers.set("GET /me", () => ({ status: 401, error: "UNAUTHENTICATED" }));
    const asked = outcome(hm.rest.getMe());
    await clock.pass(1000);
    assert.deepEqual(hm.state, { name: "closed", code: 4401, reason: "signed out", forGood: true });
    if (reason === "request") assert.ok((await asked).error instanceof Unauthorized);
  });
}

test("a token that was refreshed is the refused one of a later 4401", async () => {
  const { server, clock, hm } = await connected();
  server.socket.push({ type: "token:expiring", expiresAt: server.at });
  await clock.pass(1000);
  server.refusedTokens.add("token-2");
  server.socket.closeByServer(4401);
  await clock.pass(1000);
  assert.equal(hm.state.name, "connected");
  assert.deepEqual(server.commands("session:open").map(({ token }) => token), ["token-1", "token-3"]);
});

test("a quiet connection is asked by a ping, and one that answers is kept", async () => {
  const { server, clock } = await connected();
  await clock.pass(60_000);
  assert.equal(server.sockets.length, 1);
  assert.ok(server.commands("ping").length >= 2);
  assert.ok(server.commands("ping").length <= 4);
});

test("a half-open connection is noticed by missing heartbeats", async () => {
  const { server, clock, hm } = await connected();
  server.socket.isDeaf = server.socket.isMute = true;
  await clock.pass(30_000);
  assert.equal(server.sockets.length, 2);
  assert.equal(server.sockets[0].closedWith, 4000);
  assert.equal(hm.state.name, "connected");
});

test("in a room a half-open connection is noticed within ten seconds", async () => {
  const { server, clock } = await joined();
  server.socket.isDeaf = server.socket.isMute = true;
  await clock.pass(10_000);
  assert.equal(server.sockets.length, 2);
});

test("a connection that slept is probed, and replaced if no answer comes in 3 s", async () => {
  const { server, clock } = await connected();
  server.socket.isMute = true;
  clock.sleep(3_600_000);
  await clock.pass(100);
  assert.equal(server.commands("ping").length, 1);
  await clock.pass(2500);
  assert.equal(server.sockets.length, 1);
  await clock.pass(700);
  assert.equal(server.sockets.length, 2);
});

for (const type of ["online", "pageshow", "visibilitychange"]) {
  test(`${type} ends a pause at once`, async () => {
    const page = pretendPage();
    const { server, clock, hm } = await connected();
    server.isAway = true;
    server.socket.cut();
    await clock.pass(60_000);
    server.isAway = false;
    assert.equal(hm.state.name, "waiting");
    await clock.pass(Math.max(0, hm.state.retryAt - clock.now() - 5000));
    page.dispatchEvent(new Event(type));
    await clock.pass(100);
    assert.equal(hm.state.name, "connected");
    hm.close();
  });
}

test("a page that is hidden does not wake", async () => {
  const page = pretendPage();
  globalThis.document = { visibilityState: "hidden" };
  const { server, clock, hm } = await connected();
  page.dispatchEvent(new Event("visibilitychange"));
  await clock.pass(100);
  assert.equal(server.commands("ping").length, 0);
  delete globalThis.document;
  page.dispatchEvent(new Event("visibilitychange"));
  await clock.pass(100);
  assert.equal(server.commands("ping").length, 1);
  hm.close();
});

test("a page that is shown again and again does not cause an attempt each time", async () => {
  const page = pretendPage();
  const { server, clock, hm } = await connected();
  server.isAway = true;
  server.socket.cut();
  await clock.pass(30_000);
  const before = server.sockets.length;
  for (let i = 0; i < 100; i++) {
    page.dispatchEvent(new Event("pageshow"));
    await clock.pass(20);
  }
  assert.ok(server.sockets.length - before <= 3);
  hm.close();
});

test("waking probes an open connection", async () => {
  const { server, clock, hm } = await connected();
  server.socket.isMute = true;
  hm.wake();
  await clock.pass(3200);
  assert.equal(server.sockets.length, 2);
});

test("close ends the session with 1000, and connect opens a new one", async () => {
  const { server, clock, hm } = await connected();
  hm.close();
  assert.deepEqual(hm.state, { name: "closed", code: 1000, reason: "close", forGood: false });
  assert.equal(server.socket.closedWith, 1000);
  assert.equal(clock.waiting, 0);
  const opening = hm.connect();
  await clock.pass(100);
  await opening;
  assert.equal(server.commands("session:open")[1].resume, undefined);
});

test("a handshake that hangs is left after half a minute", async () => {
  const { server, clock, hm } = setUp();
  hm.connect().catch(() => {});
  await clock.settle();
  server.socket.isDeaf = true;
  await clock.pass(31_000);
  assert.equal(server.sockets.length, 2);
  assert.equal(hm.state.name, "connected");
});

test("debug shows frames without tokens and passwords", async (t) => {
  const shown = [];
  t.mock.method(console, "debug", (...line) => shown.push(line.join(" ")));
  const { server, clock } = await connected({ debug: true });
  server.socket.push({ type: "x", iceServers: [{ credential: "hunter2" }] });
  await clock.pass(100);
  assert.ok(shown.some((line) => line.includes("session:open")));
  assert.ok(!shown.some((line) => line.includes("token-1") || line.includes("hunter2")));
});

test("unhandled errors are logged once, and handled ones are not", async (t) => {
  const logged = t.mock.method(console, "error", () => {});
  const { clock, hm, errors } = setUp({ getToken: () => Promise.reject(new Error("away")) });
  hm.connect().catch(() => {});
  await clock.pass(60_000);
  assert.ok(errors.length > 3);
  assert.equal(logged.mock.callCount(), 0);
  const other = setUp();
  other.hm.on("state", () => {
    throw new Error("a bug of the application");
  });
  other.errors.push = () => {
    throw new Error("another one");
  };
  other.hm.connect().catch(() => {});
  await other.clock.pass(60_000);
  assert.equal(logged.mock.callCount(), 1);
  assert.equal(other.hm.state.name, "connected");
});
