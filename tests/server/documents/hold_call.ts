// Holds a call with nothing but what is generated from the two documents: types of REST and of the websocket's events.
import createClient from "openapi-fetch";
import WebSocket from "ws";
import type { components, paths } from "./api.js";
import type { CallBlockCharged, CallEnded, CallRinging, Error as Refusal, RoomJoined, SessionReady } from "./events.js";

type Event = CallBlockCharged | CallEnded | CallRinging | Refusal | RoomJoined | SessionReady;
const [api, fanToken, creatorToken, creatorId] = process.argv.slice(2) as [string, string, string, string];

class Phone {
  readonly rest: ReturnType<typeof createClient<paths>>;
  private readonly seen: Event[] = [];
  private wake = () => {};

  private constructor(private readonly socket: WebSocket, token: string) {
    this.rest = createClient<paths>({ baseUrl: api, headers: { Authorization: `Bearer ${token}` } });
    socket.on("message", (data) => {
      this.seen.push(JSON.parse(data.toString()) as Event);
      this.wake();
    });
  }

  static async open(address: string, token: string): Promise<Phone> {
    const socket = new WebSocket(address, ["halfminute.v1.json"]);
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    const phone = new Phone(socket, token);
    phone.send({ type: "session:open", token });
    await phone.next("session:ready");
    return phone;
  }

  send(message: object): void {
    this.socket.send(JSON.stringify(message));
  }

  async next<T extends Event["type"]>(type: T): Promise<Extract<Event, { type: T }>> {
    for (;;) {
      const at = this.seen.findIndex((event) => event.type === type || event.type === "error");
      const [event] = at < 0 ? [] : this.seen.splice(at, 1);
      if (event?.type === "error") throw new Error(event.message);
      if (event) return event as Extract<Event, { type: T }>;
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }

  close(): void {
    this.socket.close();
  }
}

function answered<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

const config = answered(await createClient<paths>({ baseUrl: api }).GET("/api/config"));
const fan = await Phone.open(config.websocketUrl, fanToken);
const creator = await Phone.open(config.websocketUrl, creatorToken);
const wanted: components["schemas"]["CallWanted"] = { creatorId };
const rung = answered(await fan.rest.POST("/api/calls/init", { body: wanted }));
const ringing = await creator.next("call:ringing");
const call = { path: { callId: ringing.callId } };
answered(await creator.rest.POST("/api/calls/{callId}/accept", { params: call }));
for (const phone of [fan, creator]) {
  phone.send({ type: "room:join", channel: rung.channel });
  await phone.next("room:joined");
}
const block = await fan.next("block:charged");
answered(await fan.rest.POST("/api/billing/{callId}/stop", { params: call }));
const ended = await creator.next("call:ended");
const receipt = answered(await fan.rest.GET("/api/billing/{callId}", { params: call }));
console.log(JSON.stringify({ blockNo: block.blockNo, reason: ended.reason, tokens: receipt.totals.tokens }));
fan.close();
creator.close();
