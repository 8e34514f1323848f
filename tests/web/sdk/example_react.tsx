// A component of React that shows a call and a creator's stream: it is compiled with --strict, and never runs.
import { Halfminute } from "halfminute";
import type { Call, HistoryChat, Room, State } from "halfminute";
import { useEffect, useRef, useState } from "react";
import type { ReactElement } from "react";

interface Properties {
  url: string;
  creatorId: string;
  getToken: () => Promise<string>;
}

function useHalfminute(url: string, getToken: () => Promise<string>): [Halfminute | undefined, State["name"]] {
  const [hm, setHm] = useState<Halfminute>();
  const [state, setState] = useState<State["name"]>("connecting");
  useEffect(() => {
    const client = new Halfminute({ url, getToken });
    const off = client.on("state", ({ name }) => setState(name));
    client.connect().catch(() => setState("closed"));
    setHm(client);
    return () => {
      off();
      client.close();
    };
  }, [url, getToken]);
  return [hm, state];
}

export function CallButton({ url, creatorId, getToken }: Properties): ReactElement {
  const [hm, state] = useHalfminute(url, getToken);
  const [call, setCall] = useState<Call>();
  const [tokens, setTokens] = useState(0);
  const video = useRef<HTMLVideoElement>(null);

  useEffect(() => {
    if (!call) return undefined;
    return call.on("block:charged", (block) => setTokens((sum) => sum + block.tokens));
  }, [call]);

  async function ring(): Promise<void> {
    if (!hm) return;
    const local = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
    const rung = await hm.calls.ring({ creatorId });
    setCall(rung);
    await rung.answered();
    const media = hm.media(rung, { local });
    media.on("remote", ({ stream }) => {
      if (video.current) video.current.srcObject = stream;
    });
  }

  return (
    <section aria-busy={state !== "connected"}>
      <video ref={video} autoPlay playsInline />
      <button onClick={() => void ring()} disabled={!hm || (call !== undefined && call.status !== "ended")}>
        Call, {tokens} tokens so far
      </button>
    </section>
  );
}

export function Chat({ room }: { room: Room }): ReactElement {
  const [lines, setLines] = useState<Pick<HistoryChat, "text" | "from">[]>([]);
  useEffect(() => room.on("chat:new", (line) => setLines((all) => [...all, line])), [room]);
  return (
    <ol>
      {lines.map(({ from, text }, index) => (
        <li key={index}>
          {from.displayName}: {text}
        </li>
      ))}
    </ol>
  );
}
