// The connection: its states, its pauses, close codes, and how a dead one is noticed.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { connected, joined, outcome, setUp } from "./client.mjs";

const names = (states) => states.map(({ name }) => name);

/** Gives the global object the methods of a page for one test. */
function pretendPage() {
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
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
  const msgpack = { encode: JSON.stringify, decode: (data) => JSON.parse(new TextDecoder().decode(data)) };
  const { server, clock } = setUp();
  class BinarySocket extends server.webSocket {
    set onmessage(act) {
      this.act = ({ data }) => act({ data: new TextEncoder().encode(data).buffer });
    }

    get onmessage() {
      return this.act;
    }
  }
  const { hm, states } = setUp({ protocol: "msgpack", msgpack, webSocket: BinarySocket, clock, fetch: server.fetch });
  hm.connect();
  await clock.pass(100);
  assert.deepEqual(server.socket.protocols, ["halfminute.v1.msgpack"]);
  assert.equal(server.socket.binaryType, "arraybuffer");
  assert.deepEqual(names(states), ["connecting", "connected"]);
});

test("a lost connection comes back after a pause that is announced", async () => {
  const { hm, server, clock, states, reasons } = await connected();
  server.socket.cut();
  assert.equal(hm.state.name, "waiting");
  assert.equal(hm.state.retryAt, clock.now() + 125); // half of at most 250 ms
  await clock.pass(200);
  assert.deepEqual(names(states), ["connecting", "connected", "waiting", "connecting", "connected"]);
  assert.deepEqual(reasons, ["connect", "connect"]);
});

test("pauses are random up to a limit that triples from 0.25 s to 20 s", async () => {
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
  assert.deepEqual(limits.slice(0, 9).map(Math.round), [250, 750, 2250, 6750, 20000, 20000, 20000, 20000, 20000]);
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
  assert.deepEqual(pauses, [125, 375, 1125, 125]);
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

test("a browser that goes offline has its connection checked at once", async () => {
  const page = pretendPage();
  const { server, clock, hm } = await connected();
  server.socket.isMute = true;
  server.isAway = true;
  page.dispatchEvent(new Event("offline"));
  await clock.pass(3200);
  assert.notEqual(hm.state.name, "connected");
  hm.close();
});

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
