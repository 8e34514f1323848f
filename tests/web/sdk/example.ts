// An application in TypeScript: it is compiled with --strict, and never runs.
import { Disconnected, Halfminute, HalfminuteError, Unauthorized } from "halfminute";
import type { Call, Room, State } from "halfminute";

function show(text: string): void {
  document.title = text;
}

const hm = new Halfminute({
  url: "https://live.example.org",
  getToken: async (reason) => {
    if (reason === "unauthenticated") throw new Unauthorized("signed out");
    return "token";
  },
  debug: true,
});

hm.on("state", (state: State) => {
  if (state.name === "waiting") show(new Date(state.retryAt).toISOString());
  if (state.name === "closed" && state.forGood) show(`${state.code} ${state.reason}`);
});
hm.on("wallet:changed", ({ balance, cause }) => show(`${balance} ${cause}`));
hm.on("call:ringing", async (call: Call) => {
  if (call.role === "creator") talk(await call.accept());
});

async function talk(room: Room): Promise<void> {
  const off = room.on("tip:new", ({ from, amountTokens }) => show(`${from.displayName} ${amountTokens}`));
  room.on("block:charged", (block) => show("callId" in block ? block.callId : block.streamId));
  room.on("lost", ({ reason }) => show(reason));
  room.on("closed", ({ error }) => show(error?.code ?? "over"));
  for await (const event of room) if (event.type === "chat:new") show(event.text);
  off();
}

export async function ring(creatorId: string): Promise<void> {
  const call = await hm.calls.ring({ creatorId, maxTokens: 600 });
  const room = await call.answered();
  const media = hm.media(call, { local: await navigator.mediaDevices.getUserMedia({ video: true }) });
  media.on("remote", ({ stream, memberId }) => show(stream.id + memberId));
  call.on("call:ended", ({ reason, tokens }) => show(`${reason} ${tokens}`));
  show(`${call.secondsLeft() ?? "unknown"} s, ${call.blocks.length} blocks`);
  try {
    const { tip, wallet } = await room.tip({ amountTokens: 5 });
    show(`${tip.tipId} ${wallet.balance}`);
  } catch (error) {
    if (error instanceof Disconnected) show(`again under ${error.key}`);
    else if (error instanceof HalfminuteError) show(`${error.shortfall} missing`);
  }
}

export async function look(): Promise<void> {
  const first = await hm.rest.getWalletLedger({ limit: 50, kind: "tip" });
  const second = await first.next?.();
  show(`${first.total} ${second?.items[0]?.tokens}`);
  const { purchaseId } = await hm.rest.postTokensPurchases({ packId: "small" }, { key: "one" });
  show(purchaseId);
  // @ts-expect-error: a tip has a receiver
  await hm.rest.postTipsSend({ amountTokens: 5 });
  // @ts-expect-error: there is no such event
  hm.on("wallet:exploded", () => {});
}
