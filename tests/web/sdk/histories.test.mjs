// Random histories: whatever becomes of connections, sessions and rooms, the application sees each event of each room
// once and in order, or `lost`, and a tip moves tokens once.

import assert from "node:assert/strict";
import { test } from "node:test";
import { randomBy } from "./clock.mjs";
import { connected, record } from "./client.mjs";

const HISTORIES = 200;
const STEPS = 60;
const CHANNELS = ["one", "two", "three"];
const FIRST_SEED = Number(process.env.HALFMINUTE_SDK_SEED ?? 1);

const STEP_KINDS = {
  publish: ({ server }, channel) => server.publish(channel),
  burst: ({ server }, channel) => [1, 2, 3].forEach(() => server.publish(channel)),
  tip: (run, channel) => run.tip(channel),
  cut: ({ server }) => server.socket.cut(),
  drain: ({ server }) => server.socket.closeByServer(4000),
  mute: ({ server }) => (server.socket.isMute = true),
  deafen: ({ server }) => (server.socket.isDeaf = true),
  repeat: ({ server }, channel) => server.rooms.get(channel).history.forEach((event) => server.socket.push(event)),
  drop: ({ server }, channel) => (server.rooms.get(channel).seq++, server.rooms.get(channel).n++),
  forgetHistory: ({ server }, channel) => (server.rooms.get(channel).history = []),
  forgetSession: ({ server }) => [...server.sessions.values()].forEach((session) => server.forget(session)),
  restart: ({ server }, channel) => server.restart(channel),
  moveRoom: ({ server }, channel) => server.publish(channel, { type: "room:closed", reason: "moved" }),
  awayForAMoment: ({ server, clock }) => ((server.isAway = true), clock.setTimeout(() => (server.isAway = false), 8000)),
  refuseTip: ({ server }) => server.refusals.set("tip:send", [{ error: "STORAGE_UNAVAILABLE", status: 503 }]),
  refuseJoin: ({ server }) => server.refusals.set("room:join", [{ error: "ROOM_STARTING", status: 503, retryAfterSeconds: 1 }]),
};

async function setUpRun(random) {
  const client = await connected({ random });
  const { hm, server, clock } = client;
  const tips = [];
  const seen = new Map();
  for (const channel of CHANNELS) {
    server.addRoom(channel);
    const joining = hm.join(channel);
    await clock.pass(50);
    seen.set(channel, record(await joining));
  }
  const tip = (channel) => {
    const message = `tip ${tips.length}`;
    const paid = { message, isBooked: undefined };
    tips.push(paid);
    hm.rooms.get(channel)?.tip({ amountTokens: 1, message }).then(() => (paid.isBooked = true), () => (paid.isBooked = false));
  };
  return { ...client, tips, seen, tip };
}

async function live(run, random) {
  const kinds = Object.keys(STEP_KINDS);
  const weighted = [...kinds, ...Array(12).fill("publish"), ...Array(4).fill("tip")];
  const pick = (list) => list[Math.floor(random() * list.length)];
  for (let step = 0; step < STEPS; step++) {
    STEP_KINDS[pick(weighted)](run, pick(CHANNELS));
    await run.clock.pass(pick([0, 1, 7, 30, 200, 1500, 9000]));
  }
}

/** Lets everything recover, and publishes a last event to each room. */
async function recover({ server, clock }) {
  server.isAway = false;
  server.refusals.clear();
  await clock.pass(150_000);
  CHANNELS.forEach((channel) => server.publish(channel)); // shows a gap before it
  await clock.pass(1000);
  const last = CHANNELS.map((channel) => server.publish(channel, { type: "chat:new", text: "the last one" }));
  await clock.pass(1000);
  return last;
}

function checkOrder(events, last, where) {
  let previous = null;
  let isLost = false;
  for (const { type, n } of events) {
    if (type === "lost") isLost = true;
    if (n === undefined) continue;
    if (previous !== null && !isLost) assert.equal(n, previous + 1, `${where}: ${n} came after ${previous}`);
    else if (previous !== null) assert.ok(n > previous, `${where}: ${n} came after ${previous} and a loss`);
    previous = n;
    isLost = false;
  }
  assert.equal(previous, last.n, `${where}: the last event did not come`);
}

function checkTips({ tips, server }) {
  for (const { message, isBooked } of tips) {
    const moves = server.moved.filter((moved) => moved.message === message).length;
    assert.ok(moves <= 1, `${message} moved ${moves} times`);
    assert.notEqual(isBooked, undefined, `${message} was never settled`);
    if (isBooked) assert.equal(moves, 1, `${message} is said to be booked, and did not move`);
  }
}

test(`in ${HISTORIES} random histories no event is doubled, lost in silence or out of order`, async () => {
  let [losses, booked] = [0, 0];
  for (let seed = FIRST_SEED; seed < FIRST_SEED + HISTORIES; seed++) {
    const random = randomBy(seed);
    const run = await setUpRun(random);
    await live(run, random);
    const last = await recover(run);
    CHANNELS.forEach((channel, i) => checkOrder(run.seen.get(channel), last[i], `seed ${seed}, room ${channel}`));
    checkTips(run);
    losses += [...run.seen.values()].flat().filter(({ type }) => type === "lost").length;
    booked += run.tips.filter(({ isBooked }) => isBooked).length;
    run.hm.close();
  }
  assert.ok(losses > HISTORIES && booked > HISTORIES, `${losses} losses and ${booked} tips are too few to show anything`);
});
