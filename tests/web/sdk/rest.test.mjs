// REST: functions, keys, repetitions, tokens, problems and pages.

import assert from "node:assert/strict";
import { test } from "node:test";
import { HalfminuteError } from "../../../server/web/sdk/halfminute.js";
import { connected, outcome, setUp } from "./client.mjs";

async function ask(client, promise, ms = 20_000) {
  const settled = outcome(promise);
  await client.clock.pass(ms);
  return settled;
}

function answering(name, ...answers) {
  const client = setUp();
  client.server.answers.set(name, () => (answers.length > 1 ? answers.shift() : answers[0]));
  return client;
}

test("path, query and body are made of one object, and a token is sent", async () => {
  const client = setUp();
  const { server, hm } = client;
  server.answers.set("GET /wallet/ledger", () => ({ items: [], limit: 5 }));
  server.answers.set("PUT /creators/me/blocks/a%2Fb", () => ({ blocked: true }));
  server.answers.set("POST /tips/send", () => ({ tip: {} }));
  await ask(client, hm.rest.getWalletLedger({ limit: 5, from: "2026-03-01T00:00:00+01:00", kind: undefined }));
  await ask(client, hm.rest.putCreatorsMeBlocksUserId({ userId: "a/b" }));
  await ask(client, hm.rest.postTipsSend({ toCreatorId: "c", amountTokens: 5, message: undefined }));
  const [list, block, tip] = server.requests;
  assert.equal(list.query, "limit=5&from=2026-03-01T00%3A00%3A00%2B01%3A00");
  assert.equal(list.headers.Authorization, "Bearer token-1");
  assert.equal(block.path, "/creators/me/blocks/a%2Fb");
  assert.deepEqual(tip.body, { toCreatorId: "c", amountTokens: 5 });
  assert.deepEqual(client.reasons, ["request"]);
});

test("a public operation asks for no token", async () => {
  const client = answering("GET /tokens/packs", { packs: [] });
  await ask(client, client.hm.rest.getTokensPacks());
  assert.deepEqual(client.reasons, []);
  assert.equal(client.server.requests[0].headers.Authorization, undefined);
});

test("a payment that is repeated keeps its key", async () => {
  const away = { status: 503, error: "STORAGE_UNAVAILABLE" };
  const client = answering("POST /tips/send", away, { status: 502 }, { tip: { tipId: "t" } });
  const { value } = await ask(client, client.hm.rest.postTipsSend({ toCreatorId: "c", amountTokens: 5 }));
  assert.equal(value.tip.tipId, "t");
  const keys = client.server.requests.map(({ headers }) => headers["Idempotency-Key"]);
  assert.equal(keys.length, 3);
  assert.equal(new Set(keys).size, 1);
});

test("a payment that fails four times rejects with its key, under which it is asked for again", async () => {
  const client = answering("POST /tips/send", { status: 503, error: "OVERLOADED" });
  const { error } = await ask(client, client.hm.rest.postTipsSend({ toCreatorId: "c", amountTokens: 5 }));
  assert.equal(error.code, "OVERLOADED");
  await ask(client, client.hm.rest.postTipsSend({ toCreatorId: "c", amountTokens: 5 }, { key: error.key }));
  const keys = client.server.requests.map(({ headers }) => headers["Idempotency-Key"]);
  assert.equal(keys.length, 8);
  assert.equal(new Set(keys).size, 1);
});

test("a request without a key that creates something is sent once", async () => {
  const client = answering("POST /streams", { status: 503, error: "OVERLOADED" });
  const { error } = await ask(client, client.hm.rest.postStreams({ title: "t", type: "public" }));
  assert.equal(error.code, "OVERLOADED");
  assert.equal(client.server.requests.length, 1);
  assert.equal(client.server.requests[0].headers["Idempotency-Key"], undefined);
});

test("a network that is away is an error with a code, after repetitions", async () => {
  const client = setUp({ fetch: () => Promise.reject(new TypeError("failed to fetch")) });
  const { error } = await ask(client, client.hm.rest.getMe());
  assert.ok(error instanceof HalfminuteError);
  assert.equal(error.code, "NETWORK");
});

test("an answer that does not come is given up after 20 s", async () => {
  let asked = 0;
  const fetch = (_, { signal }) =>
    new Promise((_, reject) => {
      asked++;
      signal.addEventListener("abort", () => reject(new Error("aborted")));
    });
  const client = setUp({ fetch });
  const { error } = await ask(client, client.hm.rest.getMe(), 100_000);
  assert.equal(error.code, "NETWORK");
  assert.equal(asked, 4);
});

test("Retry-After is respected, and a long one is left to the application", async () => {
  const soon = { status: 503, error: "DRAINING", headers: { "Retry-After": "3" } };
  const client = answering("GET /me", soon, { user: {} });
  const asked = client.hm.rest.getMe();
  await client.clock.pass(2900);
  assert.equal(client.server.requests.length, 1);
  await ask(client, asked);
  assert.equal(client.server.requests.length, 2);
  const limited = { status: 429, error: "RATE_LIMITED", retryAfterSeconds: 60, headers: { "Retry-After": "60" } };
  const other = answering("GET /me", limited);
  const { error } = await ask(other, other.hm.rest.getMe());
  assert.deepEqual([error.code, error.status, error.retryAfter], ["RATE_LIMITED", 429, 60]);
  assert.equal(other.server.requests.length, 1);
});

test("a problem is an error with the figures of its code", async () => {
  const problem = { status: 400, error: "INSUFFICIENT_TOKENS", message: "Need 30", required: 30, current: 12, shortfall: 18 };
  const client = answering("POST /calls/init", problem);
  const { error } = await ask(client, client.hm.rest.postCallsInit({ creatorId: "c" }));
  const { code, message, status, required, current, shortfall } = error;
  assert.deepEqual([code, message, status, required, current, shortfall], ["INSUFFICIENT_TOKENS", "Need 30", 400, 30, 12, 18]);
  assert.equal(client.server.requests.length, 1);
});

test("a refused token is replaced once, and then the refusal is the result", async () => {
  const refused = { status: 401, error: "UNAUTHENTICATED" };
  const client = answering("GET /me", refused, { user: { userId: "u" } });
  const { value } = await ask(client, client.hm.rest.getMe());
  assert.equal(value.user.userId, "u");
  assert.deepEqual(client.reasons, ["request", "unauthenticated"]);
  const other = answering("GET /me", refused);
  const { error } = await ask(other, other.hm.rest.getMe());
  assert.equal(error.status, 401);
  assert.equal(other.server.requests.length, 2);
});

test("requests share the session's token", async () => {
  const client = await connected();
  client.server.answers.set("GET /me", () => ({ user: {} }));
  await ask(client, client.hm.rest.getMe());
  assert.deepEqual(client.reasons, ["connect"]);
});

test("a page has the next one", async () => {
  const link = { Link: '</api/creators?limit=1&before=abc>; rel="next"' };
  const client = answering("GET /creators", { items: [1], headers: link }, { items: [2] });
  const { value: first } = await ask(client, client.hm.rest.getCreators({ limit: 1 }));
  const { value: second } = await ask(client, first.next());
  assert.deepEqual(second.items, [2]);
  assert.equal(second.next, null);
  assert.equal(client.server.requests[1].query, "limit=1&before=abc");
});
