// Commands: answers, keys, what is sent again after a lost connection, and what is rejected.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Disconnected, HalfminuteError } from "../../../server/web/sdk/halfminute.js";
import { connected, joined, outcome } from "./client.mjs";

test("a tip resolves once it is booked", async () => {
  const { room, clock, server } = await joined();
  const tipping = room.tip({ amountTokens: 5, message: "Bravo!" });
  await clock.pass(50);
  assert.equal((await tipping).tip.amountTokens, 5);
  assert.equal((await tipping).wallet.balance, 100);
  assert.ok(server.commands("tip:send")[0].key.length > 20);
});

test("a tip whose answer was lost is sent again under its key, and moves once", async () => {
  const { room, clock, server } = await joined();
  server.socket.isMute = true;
  const tipping = room.tip({ amountTokens: 5 });
  await clock.pass(50);
  server.socket.cut();
  await clock.pass(1000);
  assert.equal((await tipping).tip.amountTokens, 5);
  const [first, second] = server.commands("tip:send");
  assert.equal(second.key, first.key);
  assert.equal(server.moved.length, 1);
});

test("a tip that did not arrive before the session was lost is sent once the room is joined again", async () => {
  const { room, clock, server } = await joined();
  server.socket.isDeaf = true;
  const tipping = room.tip({ amountTokens: 5 });
  await clock.pass(50);
  server.forget(server.socket.session);
  server.socket.cut();
  await clock.pass(1000);
  await tipping;
  assert.equal(server.moved.length, 1);
  assert.equal(server.commands("tip:send").length, 1);
});

test("a tip waits while its room cannot be joined again yet", async () => {
  const { room, clock, server } = await joined();
  server.socket.isDeaf = true;
  const tipping = room.tip({ amountTokens: 5 });
  server.refusals.set("room:join", [{ error: "ROOM_STARTING", status: 503, retryAfterSeconds: 5 }]);
  server.forget(server.socket.session);
  await clock.pass(4000);
  assert.equal(server.commands("tip:send").length, 0);
  await clock.pass(2000);
  await tipping;
  assert.equal(server.moved.length, 1);
});

test("a tip whose answer is lost on an open connection is asked for again", async () => {
  const { room, clock, server } = await joined();
  const plain = server["on:tip:send"];
  server["on:tip:send"] = (...given) => (plain.apply(server, given), false);
  const tipping = room.tip({ amountTokens: 5 });
  await clock.pass(19_000);
  server["on:tip:send"] = plain;
  await clock.pass(2000);
  await tipping;
  assert.equal(server.moved.length, 1);
});

test("a tip that the database refuses for a moment is sent again, and a real refusal is not", async () => {
  const { room, clock, server } = await joined();
  const short = { error: "INSUFFICIENT_TOKENS", status: 400, required: 5, current: 2, shortfall: 3 };
  server.refusals.set("tip:send", [{ error: "STORAGE_UNAVAILABLE", status: 503 }, short]);
  const tipping = outcome(room.tip({ amountTokens: 5 }));
  await clock.pass(5000);
  const { error } = await tipping;
  assert.ok(error instanceof HalfminuteError);
  const { code, status, required, current, shortfall } = error;
  assert.deepEqual([code, status, required, current, shortfall], ["INSUFFICIENT_TOKENS", 400, 5, 2, 3]);
  assert.equal(error.key, server.commands("tip:send")[0].key);
  assert.equal(new Set(server.commands("tip:send").map(({ key }) => key)).size, 1);
});

test("a tip ends after five sends, with the key under which to ask again", async () => {
  const { room, clock, server } = await joined();
  server.refusals.set("tip:send", Array.from({ length: 9 }, () => ({ error: "STORAGE_UNAVAILABLE", status: 503 })));
  const tipping = outcome(room.tip({ amountTokens: 5 }));
  await clock.pass(60_000);
  const { error } = await tipping;
  assert.equal(error.code, "STORAGE_UNAVAILABLE");
  assert.equal(server.commands("tip:send").length, 5);
  const again = room.tip({ amountTokens: 5, key: error.key });
  server.refusals.clear();
  await clock.pass(100);
  await again;
  assert.equal(server.commands("tip:send")[5].key, error.key);
});

test("a tip without a connection for two minutes is rejected", async () => {
  const { room, clock, server } = await joined();
  server.isAway = true;
  server.socket.cut();
  const tipping = outcome(room.tip({ amountTokens: 5 }));
  await clock.pass(121_000);
  const { error } = await tipping;
  assert.ok(error instanceof Disconnected);
  assert.ok(error.key);
});

test("another command that was under way is rejected with Disconnected, and not sent again", async () => {
  const { room, clock, server } = await joined();
  server.socket.isMute = true;
  const chatting = outcome(room.chat("hello"));
  await clock.pass(50);
  server.socket.cut();
  await clock.pass(1000);
  assert.ok((await chatting).error instanceof Disconnected);
  assert.equal(server.commands("chat:send").length, 1);
});

test("a command that was not sent yet waits for the next connection, at most 20 s", async () => {
  const { room, clock, server } = await joined();
  server.socket.cut();
  const chatting = room.chat("hello");
  await clock.pass(1000);
  await chatting;
  server.isAway = true;
  server.socket.cut();
  const late = outcome(room.chat("too late"));
  await clock.pass(21_000);
  assert.ok((await late).error instanceof Disconnected);
});

test("a signal never waits for a connection", async () => {
  const { room, server } = await joined();
  server.socket.cut();
  assert.ok((await outcome(room.signal("m2", {}))).error instanceof Disconnected);
});

test("a command without an answer is rejected after 20 s", async () => {
  const { room, clock, server } = await joined();
  server["on:chat:send"] = () => false;
  const chatting = outcome(room.chat("hello"));
  await clock.pass(21_000);
  assert.equal((await chatting).error.code, "TIMEOUT");
});

test("the commands that wait have a limit", async () => {
  const { room, clock, server } = await joined();
  server.socket.cut();
  const waiting = Array.from({ length: 300 }, () => outcome(room.chat("hello")));
  await clock.pass(1000);
  const refused = (await Promise.all(waiting)).filter(({ error }) => error?.code === "OUTBOX_FULL");
  assert.equal(refused.length, 300 - 256);
});

test("closing rejects what waits, each with its own key", async () => {
  const { room, clock, hm, server } = await joined();
  server.isAway = true;
  server.socket.cut();
  const [one, other] = [outcome(room.tip({ amountTokens: 5 })), outcome(room.tip({ amountTokens: 5 }))];
  hm.close();
  await clock.settle();
  const errors = [(await one).error, (await other).error];
  assert.deepEqual(errors.map(({ code }) => code), ["CLOSED", "CLOSED"]);
  assert.notEqual(errors[0].key, errors[1].key);
  assert.equal(clock.waiting, 0);
});

test("moderation and signals name the room", async () => {
  const { room, clock, server } = await joined();
  room.mute("u2");
  room.remove("u2");
  room.signal("m2", { candidate: {} }).catch(() => {});
  await clock.pass(50);
  const names = server.received.slice(-3).map(({ type, channel, userId, to }) => [type, channel, userId ?? to]);
  const expected = [["member:mute", "room", "u2"], ["member:remove", "room", "u2"], ["signal:send", "room", "m2"]];
  assert.deepEqual(names, expected);
});

test("an error without a command is reported", async () => {
  const { server, clock, errors } = await connected();
  server.socket.push({ type: "error", error: "INTERNAL", status: 500, message: "Something went wrong" });
  await clock.pass(50);
  assert.equal(errors[0].code, "INTERNAL");
});
