// Two clients of the SDK in one page hold a call with audio and video, and lose their websockets in the middle.
import { Halfminute } from "/sdk/halfminute.js";

const sockets = [];

class Recorded extends WebSocket {
  constructor(...given) {
    super(...given);
    sockets.push(this);
  }
}

const next = (emitter, type, isIt = () => true) =>
  new Promise((resolve) => {
    const off = emitter.on(type, (event) => isIt(event) && (off(), resolve(event)));
  });

/** A picture that changes, and a tone. */
function ownMedia() {
  const canvas = document.createElement("canvas");
  const drawing = canvas.getContext("2d");
  setInterval(() => drawing.fillRect(Math.random() * 100, 0, 10, 10), 50);
  const audio = new AudioContext();
  const tone = new OscillatorNode(audio);
  const output = audio.createMediaStreamDestination();
  tone.connect(output);
  tone.start();
  return new MediaStream([...canvas.captureStream(10).getTracks(), ...output.stream.getTracks()]);
}

function clientOf(url, token) {
  const hm = new Halfminute({ url, getToken: () => token, webSocket: Recorded });
  const errors = [];
  hm.on("error", (error) => {
    errors.push(String(error));
    console.warn(String(error));
  });
  return { hm, errors };
}

function withMedia(side) {
  side.media = side.hm.media(side.call, { local: ownMedia() });
  side.kinds = [];
  side.media.on("remote", ({ track }) => side.kinds.push(track.kind));
}

const connectionOf = ({ media }) => [...media.peers.values()][0]?.connection;

async function until(what, isIt) {
  document.title = what;
  while (!isIt()) await new Promise((resolve) => setTimeout(resolve, 50));
}

/** The bytes of media that have arrived. */
async function received(side) {
  const reports = [...(await connectionOf(side).getStats()).values()];
  return reports.filter(({ type }) => type === "inbound-rtp").reduce((sum, { bytesReceived }) => sum + bytesReceived, 0);
}

async function mediaFlows(sides) {
  document.title += ", and media flows";
  for (const side of sides) {
    const before = await received(side);
    while ((await received(side)) <= before) await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

export async function holdCall({ url, fan: fanToken, creator: creatorToken, creatorId }) {
  document.title = "the call is answered";
  const [fan, creator] = [clientOf(url, fanToken), clientOf(url, creatorToken)];
  const sides = [fan, creator];
  await Promise.all(sides.map(({ hm }) => hm.connect()));
  const ringing = next(creator.hm, "call:ringing");
  fan.call = await fan.hm.calls.ring({ creatorId });
  creator.call = await ringing;
  await Promise.all([fan.call.answered(), creator.call.accept()]);
  for (const side of sides) withMedia(side);
  await until("both are connected", () => sides.every((side) => connectionOf(side)?.connectionState === "connected"));
  await mediaFlows(sides);

  const ufrag = (side) => /ice-ufrag:(\S+)/.exec(connectionOf(side).localDescription.sdp)[1];
  const before = sides.map(ufrag);
  const resumed = sides.map(({ hm }) => next(hm, "session:ready"));
  for (const socket of [...sockets]) socket.close();
  document.title = "both have resumed";
  const ready = await Promise.all(resumed);
  await until("both have restarted", () => sides.every((side, i) => ufrag(side) !== before[i]));
  await until("both agree again", () => sides.every((side) => connectionOf(side).signalingState === "stable"));
  await until("both are connected again", () => sides.every((side) => connectionOf(side).connectionState === "connected"));
  await mediaFlows(sides);

  await creator.call.pause();
  await until("the call is paused", () => fan.call.status === "paused");
  const paused = sides.map((side) => connectionOf(side).getSenders().map(({ track }) => track));
  await creator.call.resume();
  await until("the call goes on", () => fan.call.status === "active");
  await mediaFlows(sides);
  const ended = next(fan.call, "call:ended");
  document.title = "the call has ended";
  await creator.call.end();
  const { reason } = await ended;
  await until("media has ended", () => fan.media.peers.size === 0);
  const { cashable } = await creator.hm.rest.getWallet();
  for (const { hm } of sides) hm.close();
  return {
    kinds: sides.map(({ kinds }) => [...new Set(kinds)].sort()),
    resumed: ready.map((each) => each.resumed),
    isSilentInPause: paused.flat().every((track) => track === null),
    errors: sides.flatMap(({ errors }) => errors),
    reason,
    cashable,
  };
}
