// Two clients of the SDK hold a call with a real server, through a proxy that breaks all connections in the middle. With
// `restarts` it prints `restart` instead, and waits until the server was killed and is back.
//
// node live.mjs '{"sdk": …, "url": …, "websocketPort": …, "fan": token, "creator": token, "creatorId": …, "protocol": …}'
// prints, as JSON in one line, what both clients saw.
import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import * as msgpack from "@msgpack/msgpack";
import WebSocket from "ws";

const settings = JSON.parse(process.argv[2]);
const { Halfminute } = await import(settings.sdk);

const carried = new Set();
const proxy = createServer((client) => {
  const server = connect(settings.websocketPort, "127.0.0.1");
  for (const [from, to] of [[client, server], [server, client]]) {
    from.on("error", () => {});
    from.on("close", () => to.destroy());
    from.pipe(to);
  }
  carried.add(client);
});
await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));

function breakAll() {
  for (const client of carried) client.destroy();
  carried.clear();
}

function clientOf(token) {
  const errors = [];
  const hm = new Halfminute({
    url: settings.url,
    websocketUrl: `ws://127.0.0.1:${proxy.address().port}/ws`,
    getToken: () => token,
    webSocket: WebSocket,
    protocol: settings.protocol,
    ...(settings.protocol === "msgpack" && { msgpack }),
  });
  hm.on("error", (error) => errors.push(`${error.code}: ${error.message}`));
  return { hm, errors };
}

const next = (emitter, type, isIt = () => true) =>
  new Promise((resolve) => {
    const off = emitter.on(type, (event) => isIt(event) && (off(), resolve(event)));
  });

const [fan, creator] = [clientOf(settings.fan), clientOf(settings.creator)];
await Promise.all([fan.hm.connect(), creator.hm.connect()]);

const ringing = next(creator.hm, "call:ringing");
fan.call = await fan.hm.calls.ring({ creatorId: settings.creatorId });
creator.call = await ringing;
assert.deepEqual([fan.call.role, creator.call.role], ["fan", "creator"]);
const answered = fan.call.answered();
for (const side of [fan, creator]) {
  side.seen = [];
  side.call.on("*", (event) => side.seen.push(event));
}
await creator.call.accept();
await answered;
await next(fan.call, "block:charged", ({ blockNo }) => blockNo === 2);
const before = fan.call.secondsLeft();

const resumed = [fan, creator].map(({ hm }) => next(hm, "session:ready"));
if (settings.restarts) process.stdout.write("restart\n");
else breakAll();
const tipping = fan.call.room.tip({ amountTokens: 5, message: "through the break" });
const ready = await Promise.all(resumed);
const { tip } = await tipping;
await next(fan.call, "block:charged", ({ blockNo }) => blockNo >= 4);
const heard = next(fan.call, "chat:new");
await creator.call.room.chat("back again");
await heard;
const after = fan.call.secondsLeft();
const ended = [fan, creator].map(({ call }) => next(call, "call:ended"));
await fan.call.end();
await Promise.all(ended);
const receipt = await fan.call.receipt();
const me = await fan.hm.rest.getMe();
for (const { hm } of [fan, creator]) hm.close();
proxy.close();

const summary = ({ seen, errors, call }) => ({
  errors,
  seqs: seen.filter(({ seq, type }) => seq && type !== "room:joined").map(({ seq }) => seq),
  types: seen.map(({ type }) => type),
  blocks: call.blocks.map(({ blockNo }) => blockNo),
  tips: seen.filter(({ type, tipId }) => type === "tip:new" && tipId === tip.tipId).length,
  reason: call.ended.reason,
});
const figures = { before, after, resumed: ready.map((each) => each.resumed), lost: ready.flatMap((each) => each.lost) };
const booked = { blocks: receipt.blocks.length, tokens: receipt.totals.tokens, balance: me.wallet.balance };
process.stdout.write(JSON.stringify({ fan: summary(fan), creator: summary(creator), ...figures, receipt: booked }));
process.exit(0);
