// Events: handlers of a type, what they throw, iteration, and what is not for a room.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connected, joined, outcome, types } from "./client.mjs";

test("events are delivered by type, and to handlers of all types", async () => {
  const { room, server, clock, seen } = await joined();
  const texts = [];
  const off = room.on("chat:new", ({ text }) => texts.push(text));
  server.publish("room", { type: "chat:new", text: "one" });
  server.publish("room", { type: "tip:new", tipId: "t", amountTokens: 5 });
  await clock.pass(50);
  off();
  server.publish("room", { type: "chat:new", text: "two" });
  await clock.pass(50);
  assert.deepEqual(texts, ["one"]);
  assert.deepEqual(types(seen), ["chat:new", "tip:new", "chat:new"]);
});

test("a handler that throws is reported, and the others still receive the event", async () => {
  const { room, server, clock, seen, errors } = await joined();
  room.on("chat:new", () => {
    throw new Error("a bug");
  });
  room.on("chat:new", async () => {
    throw new Error("a later bug");
  });
  server.publish("room");
  await clock.pass(50);
  assert.equal(seen.length, 1);
  assert.deepEqual(errors.map(({ message }) => message), ["a bug", "a later bug"]);
});

test("the handlers of a type have a limit", async () => {
  const { room } = await joined();
  for (let i = 0; i < 100; i++) room.on("chat:new", () => {});
  for (let i = 0; i < 100; i++) assert.throws(() => room.on("chat:new", () => {}), RangeError);
});

test("a room is iterated until it is over", async () => {
  const { server, clock, room } = await joined();
  const seen = [];
  const reading = (async () => {
    for await (const event of room) seen.push(event.type);
  })();
  server.publish("room");
  await clock.pass(50);
  server.publish("room", { type: "room:closed", reason: "ended" });
  await clock.pass(50);
  await reading;
  assert.deepEqual(seen, ["chat:new", "room:closed", "closed"]);
});

test("an iteration that does not read fails instead of leaving events out", async () => {
  const { server, clock, room } = await joined();
  const iterator = room[Symbol.asyncIterator]();
  const first = iterator.next();
  for (let i = 0; i < 1100; i++) server.publish("room");
  await clock.pass(50);
  await first;
  let read = 1;
  const { error } = await outcome((async () => {
    for await (const _ of iterator) read++;
  })());
  assert.equal(error.code, "TOO_SLOW");
  assert.ok(read <= 1000);
});

test("private events of the user are events of the client", async () => {
  const { hm, server, clock } = await connected();
  const seen = [];
  hm.on("wallet:changed", (event) => seen.push(event.balance));
  server.socket.push({ type: "wallet:changed", balance: 7, cause: "purchase", tokens: 7, ref: {} });
  server.socket.push({ type: "constructor" });
  await clock.pass(50);
  assert.deepEqual(seen, [7]);
});

test("an undecodable frame is reported and ignored", async () => {
  const { server, clock, errors, hm } = await connected();
  server.socket.onmessage({ data: "no json" });
  await clock.pass(50);
  assert.equal(errors.length, 1);
  assert.equal(hm.state.name, "connected");
});
