// One client of the SDK in a stream's room of a real server, with a first token that expires after some seconds.
//
// node live_tokens.mjs '{"sdk": …, "url": …, "channel": …, "first": token, "later": token, "refreshes": true}'
// prints, as JSON, its states, the reasons of getToken, and what its room received. Without `refreshes` it has no other
// token before the first one is refused.
import WebSocket from "ws";

const settings = JSON.parse(process.argv[2]);
const { Halfminute } = await import(settings.sdk);
const [states, reasons, seen] = [[], [], []];

const hm = new Halfminute({
  url: settings.url,
  webSocket: WebSocket,
  getToken: (reason) => {
    reasons.push(reason);
    if (reason === "connect") return settings.first;
    if (reason === "expiring" && !settings.refreshes) throw new Error("the identity provider is away");
    return settings.later;
  },
});
hm.on("state", ({ name }) => states.push(name));
hm.on("error", () => {});
const room = await hm.join(settings.channel);
room.on("*", ({ type }) => seen.push(type));
await new Promise((resolve) => setTimeout(resolve, settings.milliseconds));
const heard = new Promise((resolve) => room.on("chat:new", resolve));
await room.chat("still here");
await heard;
process.stdout.write(JSON.stringify({ states, reasons: [...new Set(reasons)], seen }));
process.exit(0);
