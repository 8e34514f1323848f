// The interface of the SDK. README.md is the guide; rest.d.ts, which is generated, has the REST functions and shapes.

import type {
  CallAccepted, CallBilling, CallCancelled, CallDeclined, CallEndedOutside, CallMissed, CallRoom, HistoryChat, HistoryTip,
  Hold, Member, Person, PrivateEvents, Rest, RoomJoined, SentTip, SequencedEvents, SessionReady, StreamRoom,
  ViewerBlockCharged, WalletChanged, You,
} from "./rest.js";

export type * from "./rest.js";
export {}; // only what says so

// The client

/** Why a token is asked for. After `unauthenticated` the last one was refused: return another one. */
export type TokenReason = "connect" | "expiring" | "unauthenticated" | "request";

export interface Options {
  /** The server's origin, such as `https://live.example.org`. In a page, its own origin is the default. */
  url?: string;
  /** The address of the websocket; without it, `GET /api/config` names it. */
  websocketUrl?: string;
  /**
   * Returns the user's token. It is asked at every connect, before the token expires, and after a refusal. Throw
   * `Unauthorized` to stop for good. After any other error it is asked again, after a pause.
   */
  getToken(reason: TokenReason): string | Promise<string>;
  /** A class such as `WebSocket`, where there is no global one, such as that of npm's `ws` in Node 20. */
  webSocket?: new (url: string, protocols: string[]) => unknown;
  /** A function such as `fetch`, where there is no global one. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /** `msgpack` needs the functions of a MessagePack library as `msgpack`. */
  protocol?: "json" | "msgpack";
  msgpack?: { encode(message: unknown): Uint8Array; decode(data: Uint8Array): unknown };
  /** Shows every frame on `console.debug`, with tokens and passwords blanked. */
  debug?: boolean;
}

export type State =
  | { name: "connecting" }
  | { name: "connected" }
  /** `retryAt`: when the next attempt begins, in milliseconds since 1970. */
  | { name: "waiting"; retryAt: number }
  /** `code` is a close code, null before `connect`. `forGood`: only `connect()` begins again. */
  | { name: "closed"; code: number | null; reason: string; forGood: boolean };

export class Halfminute extends Emitter<ClientEvents> {
  constructor(options: Options);
  readonly state: State;
  /** The user of the token, once a session is open. */
  readonly userId?: string;
  readonly rest: Rest;
  readonly calls: Calls;
  /** Opens the session, and resolves once it is open. Rejects with `CLOSED` if the client stops for good before. */
  connect(): Promise<void>;
  /** Ends the session on the server, and leaves all rooms. */
  close(): void;
  /** Reconnects at once, or checks the connection. Pages do it by themselves; call it when an app comes back. */
  wake(): void;
  /**
   * Joins a room, also over lost connections; connects if needed. A second join of the same channel returns the same
   * room. Rejects with the server's code if it refuses for good.
   */
  join(channel: string, options?: JoinOptions): Promise<Room>;
  /** Audio and video with the other members of a joined room or call. Throws `NOT_JOINED` or `NO_WEBRTC`. */
  media(target: Room | Call, options?: MediaOptions): Media;
}

export interface ClientEvents extends Omit<PrivateEvents, "call:ringing" | "room:joined" | "token:expiring"> {
  state: State;
  /** An error in the background. Without a handler it is logged, each kind once. */
  error: Error;
  /** A call rings: for its creator, and on the other devices of its fan. Once for each call; see `role`. */
  "call:ringing": Call;
  "session:ready": SessionReady;
}

/** Delivers events by type, or all of them for `*`. A type has at most 100 handlers. */
declare class Emitter<Events> {
  /** Returns a function that removes the handler. What a handler throws is an `error` of the client. */
  on<Type extends keyof Events>(type: Type, handler: (event: Events[Type]) => unknown): () => void;
  on(type: "*", handler: (event: Events[keyof Events]) => unknown): () => void;
  off(type: keyof Events | "*", handler: (event: never) => unknown): void;
  /** All events from now on, to the last one. Fails with `TOO_SLOW` once 1,000 events were not read. */
  [Symbol.asyncIterator](): AsyncIterator<Events[keyof Events]>;
}

// Rooms

export interface JoinOptions {
  /** `overlay` receives tips only. */
  as?: "member" | "overlay";
  /** For an overlay: the last tip that it has shown. Later ones are in `history`. */
  sinceTipId?: string;
}

export interface TipWish {
  amountTokens: number;
  message?: string;
  /** Made by the SDK without it. With the `key` of an error, the same tip is asked for again, and moves once. */
  key?: string;
}

/** A joined room. All commands reject with `HalfminuteError`. */
export class Room extends Emitter<RoomEvents> {
  readonly channel: string;
  readonly state: "joining" | "joined" | "left";
  /** The call or stream at the last join. */
  readonly info: CallRoom | StreamRoom;
  /** This connection's id in the room. */
  readonly memberId: string;
  /** The other connections and this one; in a large room those of the owner alone. */
  readonly members: readonly Member[];
  /** The number of connections. */
  readonly count: number;
  readonly you: You;
  /** The latest tips and chat messages at the last join, the oldest first. */
  readonly history: ReadonlyArray<HistoryTip | HistoryChat>;
  /** Pays the creator. Resolves once it is booked; sent again under its key after a lost connection. */
  tip(wish: TipWish): Promise<{ tip: SentTip; wallet: { balance: number } }>;
  chat(text: string): Promise<unknown>;
  /** Sends data to one connection; rejects at once without a connection. */
  signal(memberId: string, data: unknown): Promise<unknown>;
  /** For the room's owner. */
  mute(userId: string): Promise<unknown>;
  /** For the room's owner: removes a user for as long as the room lives. */
  remove(userId: string): Promise<unknown>;
  leave(): Promise<void>;
}

/** The events of a room. Sequenced ones arrive once and in order; after `lost`, some are left out. */
export interface RoomEvents extends Omit<SequencedEvents, "block:charged">, AboutRooms {
  /** Some events will not arrive. The room is joined again, and `room:joined` follows with its present state. */
  lost: { type: "lost"; channel: string; reason: "resume" | "gap" | "restarted" | "moved" | "token_expired" };
  /** The last event: the room is over, was left, or could not be joined again, for the reason `error`. */
  closed: { type: "closed"; channel: string; error?: HalfminuteError };
  "room:joined": RoomJoined;
  /** Of a call, or the own blocks in a metered stream; to its owner, those of each viewer. */
  "block:charged": SequencedEvents["block:charged"] | ViewerBlockCharged;
}

/** The private events that name a room. */
type AboutRooms = Pick<
  PrivateEvents,
  "access:revoked" | "balance:low" | "balance:ok" | "signal:new" | `viewer:${"joined" | "paused" | "resumed" | "left"}`
>;

// Calls

export interface Calls {
  /** Rings a creator. The room is joined once the creator accepts. `maxTokens`: the most that the call may cost. */
  ring(wish: { creatorId: string; maxTokens?: number; expectedRateTokensPerMin?: number; key?: string }): Promise<Call>;
  /** A call that was begun elsewhere, such as before the page was loaded again. Joins it if it is not over. */
  open(callId: string): Promise<Call>;
}

export class Call extends Emitter<CallEvents> {
  readonly id: string;
  readonly channel: string;
  readonly role: "fan" | "creator";
  readonly status: "ringing" | "active" | "paused" | "ended";
  /** Why the clock is stopped; empty while it runs. */
  readonly holds: readonly Hold[];
  readonly fan: Person;
  readonly creator: Person;
  readonly rateTokensPerMin: number;
  /** Until when it rings. */
  readonly expiresAt: string | null;
  readonly startedAt: string | null;
  /** The blocks that were charged, the last 1,000. */
  readonly blocks: ReadonlyArray<{ blockNo: number; tokens: number; chargedAt: string }>;
  /** The fan's balance. */
  readonly balance?: number;
  /** How it ended. */
  readonly ended?: { reason: string; blocks: number; tokens: number; activeSeconds?: number };
  readonly room?: Room;
  /** For the creator: accepts, and joins the room. */
  accept(): Promise<Room>;
  /** For the creator. */
  decline(): Promise<void>;
  /** For the fan, while it rings. */
  cancel(): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  end(): Promise<void>;
  /** Resolves with the room once the call is accepted and joined. Rejects with `CALL_ENDED` if it ends, or the client closes, before. */
  answered(): Promise<Room>;
  /** Joins the room of an accepted call on this device as well. */
  join(): Promise<Room>;
  /** How long the fan's tokens last, in seconds in which the clock runs. Null for the creator, and before the join. */
  secondsLeft(): number | null;
  receipt(): Promise<CallBilling>;
}

export interface CallEvents extends Omit<RoomEvents, "call:ended"> {
  "call:accepted": CallAccepted;
  "call:declined": CallDeclined;
  "call:missed": CallMissed;
  "call:cancelled": CallCancelled;
  "call:ended": Omit<CallEndedOutside, "activeSeconds"> & { activeSeconds?: number };
  "wallet:changed": WalletChanged;
}

// Media

export interface MediaOptions {
  /** What to send, at most one track of each kind. Without it, media is only received. */
  local?: MediaStream | null;
  /** A class such as `RTCPeerConnection`, where there is no global one. */
  rtc?: new (configuration: RTCConfiguration) => unknown;
}

/** Media with the creator or, for the creator, with each member. It stops while the call is paused. */
export class Media extends Emitter<MediaEvents> {
  readonly peers: ReadonlyMap<string, { memberId: string; userId?: string; connection: RTCPeerConnection }>;
  /** Sends other tracks from now on, such as those of another camera; null sends none. */
  setLocal(stream: MediaStream | null): void;
  close(): void;
}

export interface MediaEvents {
  remote: { type: "remote"; memberId: string; userId?: string; stream: MediaStream; track: MediaStreamTrack };
  gone: { type: "gone"; memberId: string; userId?: string };
  closed: { type: "closed" };
}

// Errors

/**
 * `code` is one of the server's, or `TIMEOUT`, `NETWORK`, `DISCONNECTED`, `CLOSED`, `LEFT`, `OUTBOX_FULL`, `TOO_SLOW`,
 * `TOO_MANY_PEERS`, `NOT_JOINED`, `NO_WEBRTC`, `STALE_TOKEN`, or `HTTP_` with a status that a proxy answered.
 */
export class HalfminuteError extends Error {
  constructor(code: string, message?: string, problem?: object);
  readonly code: string;
  readonly status?: number;
  readonly required?: number;
  readonly current?: number;
  readonly shortfall?: number;
  /** Seconds. */
  readonly retryAfter?: number;
  /** The key of the payment that failed: ask for the same one again under it. */
  readonly key?: string;
  /** All fields of the problem document. */
  readonly problem: object;
}

/** For `getToken`: there is no token for this user any more. */
export class Unauthorized extends HalfminuteError {
  constructor(message?: string);
}

/** The connection broke before the answer: the command was carried out, or it was not. */
export class Disconnected extends HalfminuteError {
  constructor(message?: string);
}
