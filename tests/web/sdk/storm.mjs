// Many clients whose server restarts: when each is connected again, in milliseconds after the restart was asked for.
//
// node storm.mjs '{"sdk": …, "url": …, "token": …, "clients": …}' prints `restart`, and then the times as JSON.
import WebSocket from "ws";

const { sdk, url, token, clients } = JSON.parse(process.argv[2]);
const { Halfminute } = await import(sdk);
const { websocketUrl } = await (await fetch(`${url}/api/config`)).json();
const all = Array.from({ length: clients }, () => new Halfminute({ url, websocketUrl, getToken: () => token, webSocket: WebSocket }));
for (const hm of all) hm.on("error", () => {}); // the lost connections
for (let begun = 0; begun < clients; begun += 50) await Promise.all(all.slice(begun, begun + 50).map((hm) => hm.connect()));
const asked = performance.now();
const attempts = all.map(() => 0);
const again = all.map(
  (hm, index) =>
    new Promise((resolve) => {
      hm.on("state", ({ name }) => {
        if (name === "connecting") attempts[index]++;
        if (name === "connected") resolve(performance.now() - asked);
      });
    }),
);
process.stdout.write("restart\n");
const times = await Promise.all(again);
process.stdout.write(JSON.stringify({ times, attempts }), () => process.exit(0));
