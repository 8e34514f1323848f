// Calls: ringing, accepting, the countdown, blocks, the receipt, and the end.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connected, outcome, record, types } from "./client.mjs";

const FAN = { userId: "me", displayName: "Finn" };
const CREATOR = { userId: "creator", displayName: "Cleo" };
const VIEW = {
  id: "call-1",
  channel: "room",
  status: "ringing",
  holds: [],
  fan: FAN,
  creator: CREATOR,
  rateTokensPerMin: 60,
  startedAt: null,
  expiresAt: "2027-01-01T00:00:30.000Z",
  blocks: 0,
  tokens: 0,
  activeSeconds: 0,
  endReason: null,
};
const RINGING = { type: "call:ringing", callId: "call-1", channel: "room", fan: FAN, creator: CREATOR, rateTokensPerMin: 60, expiresAt: VIEW.expiresAt };

async function withServer(options) {
  const client = await connected(options);
  const { server } = client;
  server.view = { ...VIEW };
  server.secondsLeft = 90;
  server.blocks = [];
  server.addRoom("room", { ...VIEW, kind: "call", status: "active" });
  server.rooms.get("room").you = { role: "fan", balance: 90, secondsLeft: 90 };
  server.answers.set("POST /calls/init", () => ({ status: 201, call: { ...server.view } }));
  server.answers.set("GET /calls/call-1", () => ({ call: { ...server.view } }));
  server.answers.set("GET /billing/call-1", () => ({ call: server.view, blocks: server.blocks, secondsLeft: server.secondsLeft }));
  for (const verb of ["accept", "decline", "cancel", "pause", "resume", "end"]) {
    server[`on:call:${verb}`] = () => ({ call: { ...server.view } });
  }
  return client;
}

/** A fan's call that was accepted, and whose clock runs. */
async function running(options) {
  const client = await withServer(options);
  const { hm, server, clock } = client;
  const ringing = hm.calls.ring({ creatorId: "creator", maxTokens: 600 });
  await clock.pass(100);
  const call = await ringing;
  const seen = record(call);
  server.view.status = "active";
  server.socket.push({ type: "call:accepted", callId: "call-1", channel: "room" });
  await clock.pass(50);
  server.publish("room", { type: "call:started", callId: "call-1", holds: [], paidThrough: null });
  charge(client, 1, 60);
  await clock.pass(50);
  return { ...client, call, seen };
}

function charge({ server }, blockNo, secondsLeft) {
  server.publish("room", { type: "block:charged", callId: "call-1", blockNo, tokens: 30, paidThrough: null, nextAt: null });
  const ref = { callId: "call-1", blockNo };
  server.socket.push({ type: "wallet:changed", balance: secondsLeft, cause: "block", tokens: -30, ref, secondsLeft });
}

const near = (value, expected) => assert.ok(Math.abs(value - expected) < 0.1, `${value} is not about ${expected}`);

test("a fan rings, is answered, and is in the room", async () => {
  const { hm, server, clock } = await withServer();
  const ringing = hm.calls.ring({ creatorId: "creator", maxTokens: 600 });
  await clock.pass(100);
  const call = await ringing;
  assert.deepEqual(server.requests.at(-1).body, { creatorId: "creator", maxTokens: 600 });
  assert.ok(server.requests.at(-1).headers["Idempotency-Key"]);
  assert.deepEqual([call.id, call.status, call.role], ["call-1", "ringing", "fan"]);
  const answered = call.answered();
  server.socket.push({ type: "call:accepted", callId: "call-1", channel: "room" });
  await clock.pass(50);
  assert.equal((await answered).state, "joined");
  assert.equal(call.balance, 90);
  assert.equal(call.secondsLeft(), 90); // the clock does not run yet
});

test("a call that is not answered rejects what waits for it", async () => {
  const { hm, server, clock } = await withServer();
  const ringing = hm.calls.ring({ creatorId: "creator" });
  await clock.pass(100);
  const call = await ringing;
  const answered = outcome(call.answered());
  const seen = record(call);
  server.socket.push({ type: "call:declined", callId: "call-1", channel: "room" });
  server.socket.push({ type: "call:declined", callId: "call-1", channel: "room" });
  await clock.pass(50);
  const { error } = await answered;
  assert.deepEqual([error.code, error.message], ["CALL_ENDED", "declined"]);
  assert.deepEqual(types(seen), ["call:declined"]);
  assert.equal(call.status, "ended");
  assert.equal((await outcome(call.answered())).error.code, "CALL_ENDED");
});

test("closing the client rejects what waits for an answer", async () => {
  const { hm, clock } = await withServer();
  const ringing = hm.calls.ring({ creatorId: "creator" });
  await clock.pass(100);
  const answered = outcome((await ringing).answered());
  hm.close();
  assert.equal((await answered).error.code, "CALL_ENDED");
});

test("a creator's client is rung once, however often the server says so", async () => {
  const { hm, server, clock } = await withServer();
  hm.userId = "creator";
  const rung = [];
  hm.on("call:ringing", (call) => rung.push(call));
  server.socket.push(RINGING);
  server.socket.push(RINGING);
  await clock.pass(50);
  assert.equal(rung.length, 1);
  const [call] = rung;
  assert.deepEqual([call.role, call.fan.displayName, call.rateTokensPerMin], ["creator", "Finn", 60]);
  server.rooms.get("room").you = { role: "creator" };
  const accepting = call.accept();
  await clock.pass(100);
  assert.equal((await accepting).state, "joined");
  assert.equal(server.commands("call:accept")[0].callId, "call-1");
  assert.equal(call.secondsLeft(), null);
});

test("another device stops ringing, and does not join", async () => {
  const { hm, server, clock } = await withServer();
  const rung = [];
  hm.on("call:ringing", (call) => rung.push(call));
  server.socket.push(RINGING);
  await clock.pass(50);
  const seen = record(rung[0]);
  server.socket.push({ type: "call:accepted", callId: "call-1", channel: "room" });
  await clock.pass(50);
  assert.deepEqual(types(seen), ["call:accepted"]);
  assert.equal(server.commands("room:join").length, 0);
});

test("the seconds that are left run with the call's clock", async () => {
  const client = await running();
  const { call, clock, server } = client;
  near(call.secondsLeft(), 60);
  await clock.pass(30_000);
  near(call.secondsLeft(), 30);
  server.publish("room", { type: "call:paused", callId: "call-1", holds: ["fan"], paidThrough: null });
  await clock.pass(50);
  assert.equal(call.status, "paused");
  await clock.pass(60_000);
  near(call.secondsLeft(), 30);
  server.publish("room", { type: "call:resumed", callId: "call-1", holds: [], paidThrough: null });
  await clock.pass(10_000);
  near(call.secondsLeft(), 20);
  await clock.pass(60_000);
  assert.equal(call.secondsLeft(), 0);
});

test("the countdown follows the server's clock, which may differ from the device's", async () => {
  const { hm, server, clock } = await withServer();
  Object.defineProperty(server, "at", { get: () => new Date(clock.now() - 3_600_000).toISOString() });
  const opening = ((server.view.status = "active"), hm.calls.open("call-1"));
  await clock.pass(100);
  const call = await opening;
  server.publish("room", { type: "call:started", callId: "call-1", holds: [], paidThrough: null });
  await clock.pass(50);
  const endsAt = new Date(clock.now() - 3_600_000 + 12_000).toISOString();
  server.socket.push({ type: "balance:low", channel: "room", balance: 12, required: 30, secondsLeft: 12, endsAt });
  await clock.pass(5000);
  near(call.secondsLeft(), 7);
});

test("events that a resume hands over late count from when they happened", async () => {
  const { call, clock, server } = await running();
  await clock.pass(10_000);
  server.socket.isMute = true;
  server.publish("room", { type: "call:paused", callId: "call-1", holds: ["absent:fan"], paidThrough: null });
  await clock.pass(5000);
  server.socket.cut();
  server.publish("room", { type: "call:resumed", callId: "call-1", holds: [], paidThrough: null });
  await clock.pass(3000);
  near(call.secondsLeft(), 47);
});

test("blocks are kept with their times, and those that were missed are read", async () => {
  const client = await running();
  const { call, clock, server } = client;
  charge(client, 2, 30);
  await clock.pass(50);
  assert.deepEqual(call.blocks.map(({ blockNo, tokens }) => [blockNo, tokens]), [[1, 30], [2, 30]]);
  server.blocks = [1, 2, 3].map((blockNo) => ({ blockNo, tokens: 30, chargedAt: server.at }));
  server.view = { ...server.view, status: "active", startedAt: server.at };
  Object.assign(server.rooms.get("room").info, { blocks: 3, startedAt: server.at });
  server.forget(server.socket.session);
  await clock.pass(3000);
  assert.ok(types(client.seen).includes("lost"));
  assert.equal(call.blocks.length, 3);
});

test("a tip or purchase in a call has the remaining time read, once for many", async () => {
  const { call, clock, server } = await running();
  server.view = { ...server.view, status: "active", startedAt: server.at };
  const before = server.requests.length;
  server.secondsLeft = 500;
  for (const balance of [1, 2, 3]) server.socket.push({ type: "wallet:changed", balance, cause: "purchase", tokens: 1, ref: {} });
  await clock.pass(1500);
  assert.equal(call.balance, 3);
  near(call.secondsLeft(), 499.5);
  assert.equal(server.requests.length - before, 1);
});

test("the end is delivered once, with its reason and figures", async () => {
  const { call, clock, server, seen } = await running();
  const end = { type: "call:ended", callId: "call-1", reason: "hangup", blocks: 1, tokens: 30, activeSeconds: 12.5 };
  server.publish("room", end);
  server.socket.push({ ...end, channel: "room" });
  await clock.pass(50);
  assert.equal(types(seen).filter((type) => type === "call:ended").length, 1);
  assert.deepEqual(call.ended, { reason: "hangup", blocks: 1, tokens: 30, activeSeconds: 12.5 });
  assert.equal(call.room.state, "left");
  const left = call.secondsLeft();
  await clock.pass(5000);
  assert.equal(call.secondsLeft(), left);
});

test("pause, resume and end are commands of the call", async () => {
  const { call, clock, server } = await running();
  server.view = { ...server.view, status: "active", startedAt: server.at };
  for (const verb of ["pause", "resume", "end", "cancel", "decline"]) {
    const asked = call[verb]();
    await clock.pass(50);
    await asked;
    assert.equal(server.commands(`call:${verb}`)[0].callId, "call-1");
  }
});

test("an accept or an end that was missed during a break is found afterwards", async () => {
  const { hm, server, clock } = await withServer();
  const ringing = hm.calls.ring({ creatorId: "creator" });
  await clock.pass(100);
  const call = await ringing;
  const answered = call.answered();
  server.socket.cut();
  server.view.status = "active";
  await clock.pass(3000);
  assert.equal((await answered).state, "joined");
  server.view = { ...server.view, status: "ended", endReason: "peer_lost" };
  server.rooms.delete("room");
  server.socket.cut();
  await clock.pass(3000);
  assert.equal(call.ended.reason, "peer_lost");
});

test("a call that was begun before the page was loaded is opened again", async () => {
  const { hm, server, clock } = await withServer();
  server.view.status = "paused";
  const opening = hm.calls.open("call-1");
  await clock.pass(100);
  const call = await opening;
  assert.equal(call.room.state, "joined");
  const receiving = call.receipt();
  await clock.pass(100);
  assert.equal((await receiving).call.id, "call-1");
});

test("ended calls are remembered up to a limit", async () => {
  const { hm, server, clock } = await withServer();
  let rung = 0;
  hm.on("call:ringing", () => rung++);
  for (let i = 0; i < 120; i++) {
    server.socket.push({ ...RINGING, callId: `c${i}` });
    server.socket.push({ type: "call:missed", callId: `c${i}`, channel: "room" });
  }
  server.socket.push({ ...RINGING, callId: "c119" });
  server.socket.push({ ...RINGING, callId: "c0" });
  await clock.pass(50);
  assert.equal(rung, 121);
});
