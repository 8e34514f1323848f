// Rooms: joining, the order of events, what is lost, members, and leaving.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connected, joined, outcome, record, setUp, types } from "./client.mjs";

const chats = (seen) => seen.filter(({ type }) => type === "chat:new").map(({ seq }) => seq);

test("join connects by itself and resolves with the state of the room", async () => {
  const { hm, server, clock } = setUp();
  server.addRoom("room");
  const joining = hm.join("room");
  await clock.pass(200);
  const room = await joining;
  assert.equal(room.state, "joined");
  assert.equal(room.info.kind, "stream");
  assert.equal(room.you.role, "viewer");
  assert.deepEqual(room.members.map(({ userId }) => userId), ["me"]);
  assert.equal(await hm.join("room"), room);
  assert.equal(server.commands("room:join").length, 1);
});

test("a join that is refused rejects with the code of the server", async () => {
  const { hm, clock, errors } = await connected();
  const joining = outcome(hm.join("nowhere"));
  await clock.pass(200);
  const { error } = await joining;
  assert.deepEqual([error.code, error.status], ["NOT_FOUND", 404]);
  assert.deepEqual(errors, []);
});

test("a join waits while the room starts, as long as the server says", async () => {
  const { hm, server, clock } = await connected();
  server.addRoom("room");
  server.refusals.set("room:join", [{ error: "ROOM_STARTING", retryAfterSeconds: 7 }]);
  const joining = hm.join("room");
  await clock.pass(6900);
  assert.equal(server.commands("room:join").length, 1);
  await clock.pass(200);
  assert.equal((await joining).state, "joined");
});

test("a join that is refused again and again ends", async () => {
  const { hm, server, clock } = await connected();
  server.addRoom("room");
  server.refusals.set("room:join", Array.from({ length: 50 }, () => ({ error: "OVERLOADED", status: 503 })));
  const joining = outcome(hm.join("room"));
  await clock.pass(300_000);
  assert.equal((await joining).error.code, "OVERLOADED");
  assert.equal(server.commands("room:join").length, 11);
});

test("a join whose answer was lost with the connection is sent again", async () => {
  const { hm, server, clock } = await connected();
  server.addRoom("room");
  server.socket.isMute = true;
  const joining = hm.join("room");
  await clock.pass(50);
  server.socket.cut();
  await clock.pass(500);
  assert.equal((await joining).state, "joined");
  assert.equal(server.commands("room:join").length, 2);
});

test("lost connections do not count as refusals of a join", async () => {
  const { hm, server, clock } = await connected();
  server.addRoom("room");
  server["on:room:join"] = () => false;
  const joining = hm.join("room");
  for (let i = 0; i < 15; i++) {
    await clock.pass(30_000);
    server.socket.cut();
  }
  delete server["on:room:join"];
  server.refusals.set("room:join", [{ error: "OVERLOADED", status: 503 }]);
  await clock.pass(60_000);
  assert.equal((await joining).state, "joined");
});

test("missed events are handed over in order before newer ones", async () => {
  const { server, clock, seen } = await joined();
  server.publish("room");
  await clock.pass(50);
  server.socket.cut();
  server.publish("room");
  server.publish("room");
  await clock.pass(500);
  server.publish("room");
  await clock.pass(50);
  assert.deepEqual(chats(seen), [2, 3, 4, 5]);
  assert.deepEqual(server.commands("session:open")[1].resume.channels, [{ channel: "room", epoch: 1, seq: 2 }]);
  assert.ok(!types(seen).includes("lost"));
});

test("a repeated event is refused", async () => {
  const { server, clock, seen } = await joined();
  const event = server.publish("room");
  server.socket.push(event);
  server.socket.push({ ...event, seq: 1 });
  await clock.pass(50);
  assert.deepEqual(chats(seen), [2]);
});

test("a room that is lost is joined again, and says so", async () => {
  const { server, clock, seen, room } = await joined();
  server.socket.cut();
  server.historyMax = 0;
  server.publish("room");
  await clock.pass(500);
  server.publish("room");
  await clock.pass(50);
  assert.deepEqual(types(seen), ["lost", "room:joined", "chat:new"]);
  assert.deepEqual(seen[0], { type: "lost", channel: "room", reason: "resume" });
  assert.equal(room.state, "joined");
});

test("a session that is gone loses every room", async () => {
  const { server, clock, seen, hm } = await joined();
  server.addRoom("other");
  const other = hm.join("other");
  await clock.pass(50);
  const seenThere = record(await other);
  server.forget(server.socket.session);
  server.socket.cut();
  await clock.pass(500);
  for (const events of [seen, seenThere]) assert.deepEqual(types(events).filter((type) => type !== "member:left"), ["lost", "room:joined"]);
});

test("a gap in the numbers is a loss", async () => {
  const { server, clock, seen } = await joined();
  server.socket.isMute = true;
  server.publish("room");
  server.socket.isMute = false;
  server.publish("room");
  await clock.pass(500);
  server.publish("room");
  await clock.pass(50);
  assert.deepEqual(types(seen), ["lost", "room:joined", "chat:new"]);
  assert.equal(seen[0].reason, "gap");
});

test("a restarted room begins a new epoch, keeps its ICE servers, and says that events may be lost", async () => {
  const { server, clock, seen, room } = await joined();
  room.iceServers = [{ urls: ["turn:x"], username: "9999999999:me", credential: "c" }];
  server.publish("room");
  server.restart("room");
  server.publish("room");
  await clock.pass(50);
  assert.deepEqual(types(seen), ["chat:new", "lost", "room:joined", "chat:new"]);
  assert.equal(seen[1].reason, "restarted");
  assert.equal(room.epoch, 2);
  assert.equal(room.iceServers.length, 1);
});

test("a room that has moved to another server is joined there", async () => {
  const { server, clock, seen } = await joined();
  server.publish("room", { type: "room:closed", reason: "moved" });
  await clock.pass(500);
  assert.deepEqual(types(seen), ["room:closed", "lost", "room:joined"]);
});

test("a room that closes is over, and one that is gone at the rejoin says why", async () => {
  const { server, clock, seen, room, hm } = await joined();
  server.publish("room", { type: "stream:ended", reason: "ended" });
  server.publish("room", { type: "room:closed", reason: "ended" });
  await clock.pass(50);
  assert.deepEqual(types(seen), ["stream:ended", "room:closed", "closed"]);
  assert.equal(room.state, "left");
  server.addRoom("other");
  const joining = hm.join("other");
  await clock.pass(50);
  const events = record(await joining);
  server.rooms.delete("other");
  server.socket.cut();
  await clock.pass(500);
  assert.deepEqual(types(events), ["lost", "closed"]);
  assert.equal(events[1].error.code, "NOT_FOUND");
});

test("access that is revoked ends the room", async () => {
  const { server, clock, seen, room } = await joined();
  server.socket.push({ type: "access:revoked", channel: "room", reason: "removed" });
  await clock.pass(50);
  assert.deepEqual(types(seen), ["access:revoked", "closed"]);
  assert.equal(room.state, "left");
});

test("a token that expired costs a room only until there is another one", async () => {
  const { server, clock, seen, hm } = await joined();
  const { socket } = server;
  socket.push({ type: "access:revoked", channel: "room", reason: "token_expired" });
  server.refusedTokens.add("token-1");
  socket.closeByServer(4401, "token expired");
  server.sessions.clear();
  server.rooms.get("room").members.clear();
  await clock.pass(1000);
  assert.equal(hm.state.name, "connected");
  assert.deepEqual(types(seen), ["access:revoked", "lost", "room:joined"]);
  server.publish("room");
  await clock.pass(50);
  assert.equal(types(seen).at(-1), "chat:new");
});

test("members and their number follow the events", async () => {
  const { server, clock, room } = await joined();
  server.publish("room", { type: "member:joined", memberId: "m2", userId: "u2" });
  await clock.pass(50);
  assert.deepEqual(room.members.at(-1), { memberId: "m2", userId: "u2" });
  assert.equal(room.count, 2);
  server.publish("room", { type: "member:left", memberId: "m2", userId: "u2" });
  await clock.pass(50);
  assert.equal(room.count, 1);
  server.publish("room", { type: "room:presence", count: 140 });
  await clock.pass(50);
  assert.equal(room.count, 140);
});

test("leaving tells the server, and a later join is a new room", async () => {
  const { server, clock, room, hm, seen } = await joined();
  const leaving = room.leave();
  await clock.pass(50);
  await leaving;
  assert.equal(server.rooms.get("room").members.size, 0);
  assert.deepEqual(types(seen), ["closed"]);
  const joining = hm.join("room");
  await clock.pass(50);
  assert.notEqual(await joining, room);
});

test("a leave that is refused for a moment is sent again, since a viewer would go on paying", async () => {
  const { server, clock, room, hm } = await joined();
  server.refusals.set("room:leave", [{ error: "RATE_LIMITED", status: 429, retryAfterSeconds: 2 }]);
  const leaving = room.leave();
  await clock.pass(1900);
  assert.equal(server.rooms.get("room").members.size, 1);
  await clock.pass(200);
  await leaving;
  assert.equal(server.rooms.get("room").members.size, 0);
  assert.equal(hm.rooms.size, 0);
});

test("a room that is left without a connection is not resumed", async () => {
  const { server, clock, room } = await joined();
  server.socket.cut();
  await room.leave();
  await clock.pass(500);
  assert.deepEqual(server.commands("session:open")[1].resume.channels, []);
  assert.equal(server.rooms.get("room").members.size, 0);
});

test("a room that is left before the answer to its join is left on the server, too", async () => {
  const { server, clock, hm } = await connected();
  server.addRoom("room");
  const joining = outcome(hm.join("room"));
  const room = hm.rooms.get("room");
  room.leave();
  await clock.pass(100);
  assert.equal((await joining).error.code, "LEFT");
  assert.equal(server.rooms.get("room").members.size, 0);
});

test("an overlay that joins again receives the tips since the last one that it saw", async () => {
  const { server, clock, hm } = await connected();
  server.addRoom("room");
  const joining = hm.join("room", { as: "overlay", sinceTipId: "t1" });
  await clock.pass(50);
  const room = await joining;
  const seen = record(room);
  assert.deepEqual([server.commands("room:join")[0].as, server.commands("room:join")[0].sinceTipId], ["overlay", "t1"]);
  server.publish("room", { type: "tip:new", tipId: "t2" });
  await clock.pass(50);
  server.forget(server.socket.session);
  server.rooms.get("room").recent = [{ type: "tip:new", tipId: "t3" }];
  server.socket.cut();
  await clock.pass(500);
  assert.equal(server.commands("room:join")[1].sinceTipId, "t2");
  assert.deepEqual(types(seen).slice(-3), ["lost", "room:joined", "tip:new"]);
});

test("the payer's blocks of a metered stream reach its room", async () => {
  const { server, clock, seen } = await joined();
  server.socket.push({ type: "block:charged", streamId: "id-room", blockNo: 1, tokens: 30 });
  await clock.pass(50);
  assert.deepEqual(types(seen), ["block:charged"]);
});
