// Media: negotiation between two clients on one server, pauses, restarts of ICE, and credentials of TURN servers.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { setUp, types, record } from "./client.mjs";
import { FakePeer, stream } from "./fake_peer.mjs";

const CALL = { kind: "call", id: "id-room", creator: { userId: "creator" }, status: "active", holds: [], startedAt: "x" };

beforeEach(() => (FakePeer.all = []));

/** A fan and a creator in one room, each with a client. */
async function couple(info = CALL, iceServers = []) {
  const fan = setUp({ getToken: () => "fan" });
  const { clock, server } = fan;
  const creator = setUp({ getToken: () => "creator", clock, webSocket: server.webSocket, fetch: server.fetch });
  server.userOf = (token) => token;
  server.addRoom("room", info);
  server.rooms.get("room").youOf = (userId) => ({ role: userId === "creator" ? "creator" : "fan" });
  server.rooms.get("room").iceServers = iceServers;
  const joining = [creator.hm.join("room"), fan.hm.join("room")];
  await clock.pass(100);
  [creator.room, fan.room] = await Promise.all(joining);
  return { clock, server, fan, creator };
}

async function withMedia(...given) {
  const both = await couple(...given);
  for (const side of [both.creator, both.fan]) {
    side.media = side.hm.media(side.room, { local: stream("audio", "video"), rtc: FakePeer });
    side.peer = FakePeer.all.at(-1);
    side.seen = record(side.media);
  }
  await both.clock.pass(200);
  return both;
}

const sent = ({ peer }) => peer.senders.map(({ track }) => track?.kind ?? null);

function checkPair({ fan, creator }) {
  assert.ok(fan.peer.isPairOf(creator.peer), `${fan.peer.signalingState}, ${creator.peer.signalingState}`);
  assert.deepEqual([...fan.errors, ...creator.errors], []);
}

test("two offers that collide end in one agreement, with candidates on both sides", async () => {
  const both = await withMedia();
  checkPair(both);
  assert.equal(both.creator.peer.offers, 1);
  assert.ok(both.fan.peer.candidates.length > 0 && both.creator.peer.candidates.length > 0);
});

for (const early of ["creator", "fan"]) {
  test(`what the ${early} sent before the other's media began is sent again`, async () => {
    const both = await couple();
    for (const side of early === "creator" ? [both.creator, both.fan] : [both.fan, both.creator]) {
      side.media = side.hm.media(side.room, { local: side === both[early] ? stream("video") : null, rtc: FakePeer });
      side.peer = FakePeer.all.at(-1);
      await both.clock.pass(500);
    }
    checkPair(both);
    assert.ok(both.fan.peer.remoteDescription && both.creator.peer.remoteDescription);
  });
}

test("a fan without a camera receives only", async () => {
  const both = await couple();
  both.creator.media = both.creator.hm.media(both.creator.room, { local: stream("video"), rtc: FakePeer });
  both.creator.peer = FakePeer.all.at(-1);
  await both.clock.pass(100);
  both.fan.media = both.fan.hm.media(both.fan.room, { rtc: FakePeer });
  both.fan.peer = FakePeer.all.at(-1);
  const seen = record(both.fan.media);
  both.fan.hm.wake();
  await both.clock.pass(100);
  both.creator.media.setLocal(stream("video", "audio"));
  await both.clock.pass(100);
  const remote = {};
  both.fan.peer.ontrack({ track: { kind: "video" }, streams: [remote] });
  assert.equal(seen.at(-1).stream, remote);
  assert.equal(seen.at(-1).userId, "creator");
});

test("nothing is sent while the call is paused, and no negotiation follows when it goes on", async () => {
  const both = await withMedia();
  const { server, clock, fan, creator } = both;
  const offers = fan.peer.offers + creator.peer.offers;
  server.publish("room", { type: "call:paused", callId: "c", holds: ["fan"], paidThrough: null });
  await clock.pass(50);
  for (const side of [fan, creator]) assert.deepEqual(sent(side), [null, null]);
  fan.media.setLocal(stream("audio"));
  assert.deepEqual(sent(fan), [null, null]);
  server.publish("room", { type: "call:resumed", callId: "c", holds: [], paidThrough: null });
  await clock.pass(50);
  assert.deepEqual(sent(creator), ["audio", "video"]);
  assert.deepEqual(sent(fan), ["audio", null]);
  assert.equal(fan.peer.offers + creator.peer.offers, offers);
});

test("media that begins in a paused call sends nothing", async () => {
  const both = await withMedia({ ...CALL, status: "paused", holds: ["creator"] });
  assert.deepEqual(sent(both.fan), []);
  both.server.publish("room", { type: "call:resumed", callId: "c", holds: [], paidThrough: null });
  await both.clock.pass(100);
  assert.deepEqual(sent(both.fan), ["audio", "video"]);
  checkPair(both);
});

test("a viewer whose clock stands is sent nothing", async () => {
  const both = await withMedia({ ...CALL, kind: "stream" });
  const { server, clock, creator, fan } = both;
  const viewer = { channel: "room", memberId: fan.room.memberId, userId: "fan" };
  const owner = [...server.sessions.values()].find(({ userId }) => userId === "creator").socket;
  owner.push({ type: "viewer:paused", ...viewer });
  await clock.pass(50);
  assert.deepEqual(sent(creator), [null, null]);
  owner.push({ type: "viewer:resumed", ...viewer });
  await clock.pass(50);
  assert.deepEqual(sent(creator), ["audio", "video"]);
});

for (const name of ["fan", "creator"]) {
  test(`after a resume of the ${name} both sides look for a new way`, async () => {
    const both = await withMedia();
    const socket = [...both.server.sessions.values()].find(({ userId }) => userId === name).socket;
    socket.cut();
    await both.clock.pass(1000);
    assert.equal(both.creator.peer.restarts, 1);
    checkPair(both);
    assert.equal(FakePeer.all.length, 2);
  });
}

test("after a resume of both the second answer to an offer that was sent twice is ignored", async () => {
  const both = await withMedia();
  for (const { socket } of [...both.server.sessions.values()]) socket.cut();
  await both.clock.pass(2000);
  assert.equal(both.creator.peer.restarts, 2);
  checkPair(both);
});

test("an offer that was lost with the connection does not block the negotiation", async () => {
  const both = await withMedia();
  const { server, clock, fan, creator } = both;
  const socket = [...server.sessions.values()].find(({ userId }) => userId === "fan").socket;
  socket.isDeaf = socket.isMute = true;
  creator.peer.restartIce();
  fan.peer.restartIce();
  await clock.pass(50);
  socket.cut();
  await clock.pass(1000);
  checkPair(both);
});

for (const lost of ["offer", "answer"]) {
  test(`a first ${lost} that was lost with the connection is sent again`, async () => {
    const both = await couple();
    const { server, clock, fan, creator } = both;
    fan.media = fan.hm.media(fan.room, { rtc: FakePeer });
    fan.peer = FakePeer.all.at(-1);
    const socket = [...server.sessions.values()].find(({ userId }) => userId === "fan").socket;
    if (lost === "offer") socket.isMute = true;
    socket.isDeaf = true;
    creator.media = creator.hm.media(creator.room, { local: stream("video"), rtc: FakePeer });
    creator.peer = FakePeer.all.at(-1);
    await clock.pass(50);
    assert.equal(fan.peer.signalingState, "stable");
    assert.equal(fan.peer.remoteDescription !== null, lost === "answer");
    socket.cut();
    await clock.pass(1000);
    checkPair(both);
    assert.equal(creator.peer.offers, 1);
  });
}

test("an offer of a fan to a creator without a camera that was lost is sent again", async () => {
  const both = await couple();
  const { server, clock, fan, creator } = both;
  creator.media = creator.hm.media(creator.room, { rtc: FakePeer });
  creator.peer = FakePeer.all.at(-1);
  const socket = [...server.sessions.values()].find(({ userId }) => userId === "fan").socket;
  socket.isDeaf = true;
  fan.media = fan.hm.media(fan.room, { local: stream("video"), rtc: FakePeer });
  fan.peer = FakePeer.all.at(-1);
  await clock.pass(50);
  socket.cut();
  await clock.pass(1000);
  checkPair(both);
});

test("a signal that meets the end of its call is no error", async () => {
  const both = await withMedia();
  both.server.refusals.set("signal:send", [{ error: "CALL_ENDED", status: 409 }]);
  both.creator.peer.restartIce();
  await both.clock.pass(50);
  assert.deepEqual(both.creator.errors, []);
});

test("a failed connection restarts ICE, at most five times in a row", async () => {
  const both = await withMedia();
  for (let i = 0; i < 9; i++) {
    both.creator.peer.change("failed");
    await both.clock.pass(100);
  }
  assert.equal(both.creator.peer.restarts, 5);
  both.creator.peer.change("connected");
  both.creator.peer.change("failed");
  await both.clock.pass(100);
  assert.equal(both.creator.peer.restarts, 6);
});

test("a member who leaves is gone, and one who returns is a new peer", async () => {
  const both = await withMedia();
  const { creator, fan, clock, server } = both;
  server.forget([...server.sessions.values()].find(({ userId }) => userId === "fan"));
  await clock.pass(2000);
  assert.ok(creator.peer.isClosed && fan.peer.isClosed);
  assert.ok(types(creator.seen).includes("gone"));
  const [forCreator, forFan] = FakePeer.all.slice(-2);
  assert.equal(FakePeer.all.length, 4);
  assert.ok(forCreator.isPairOf(forFan));
});

test("signals over the budget are sent again in order, later", async () => {
  const both = await couple();
  both.server.refusals.set("signal:send", [{ error: "RATE_LIMITED", status: 429, retryAfterSeconds: 2 }]);
  both.creator.media = both.creator.hm.media(both.creator.room, { local: stream("audio"), rtc: FakePeer });
  both.creator.peer = FakePeer.all.at(-1);
  both.fan.media = both.fan.hm.media(both.fan.room, { rtc: FakePeer });
  both.fan.peer = FakePeer.all.at(-1);
  await both.clock.pass(3000);
  checkPair(both);
});

test("credentials of TURN servers are renewed before they expire", async () => {
  const clock = 1_800_000_000;
  const turn = (seconds) => [{ urls: ["turn:x"], username: `${clock + seconds}:me`, credential: "c" }];
  const both = await withMedia(CALL, turn(3600));
  const joins = both.server.commands("room:join").length;
  both.server.rooms.get("room").iceServers = turn(7200);
  await both.clock.pass(3_500_000);
  assert.equal(both.server.commands("room:join").length, joins);
  await both.clock.pass(60_000);
  assert.equal(both.server.commands("room:join").length, joins + 2);
  assert.deepEqual(both.fan.peer.configuration.iceServers, turn(7200));
  assert.ok(!types(both.fan.seen).includes("gone"));
  await both.clock.pass(3_500_000);
  assert.equal(both.server.commands("room:join").length, joins + 2);
});

test("the peers of a large room have a limit", async () => {
  const both = await couple({ ...CALL, kind: "stream" });
  both.creator.media = both.creator.hm.media(both.creator.room, { local: stream("audio"), rtc: FakePeer });
  for (let i = 0; i < 40; i++) both.server.publish("room", { type: "member:joined", memberId: `m${i}`, userId: `u${i}` });
  await both.clock.pass(100);
  assert.equal(both.creator.media.peers.size, 32);
  assert.equal(both.creator.errors[0].code, "TOO_MANY_PEERS");
});

test("media ends with its room, and needs one", async () => {
  const both = await withMedia();
  both.server.publish("room", { type: "call:ended", callId: "c", reason: "hangup", blocks: 1, tokens: 1, activeSeconds: 1 });
  await both.clock.pass(50);
  assert.ok(both.fan.peer.isClosed && both.creator.peer.isClosed);
  assert.deepEqual(types(both.fan.seen), ["gone", "closed"]);
  assert.throws(() => both.fan.hm.media(both.fan.room, { rtc: FakePeer }), { code: "NOT_JOINED" });
  const other = await couple();
  assert.throws(() => other.fan.hm.media(other.fan.room, {}), { code: "NO_WEBRTC" });
});
