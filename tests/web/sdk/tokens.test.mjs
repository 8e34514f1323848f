// Tokens: when getToken is asked, what follows a refusal, and how an expiring one is replaced.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Unauthorized } from "../../../server/web/sdk/halfminute.js";
import { connected, outcome, setUp } from "./client.mjs";

const names = (states) => states.map(({ name }) => name);

test("after 4401 another token is asked for, and the refused one is never sent again", async () => {
  const { server, clock, hm, reasons } = await connected();
  server.refusedTokens.add("token-1");
  server.socket.closeByServer(4401, "token expired");
  await clock.pass(1000);
  assert.equal(hm.state.name, "connected");
  assert.deepEqual(reasons, ["connect", "unauthenticated"]);
  assert.deepEqual(server.commands("session:open").map(({ token }) => token), ["token-1", "token-2"]);
});

test("a getToken that returns the refused token again ends the client instead of a loop", async () => {
  const { server, clock, hm } = setUp({ getToken: () => "stale" });
  server.refusedTokens.add("stale");
  hm.connect().catch(() => {});
  await clock.pass(600_000);
  assert.equal(hm.state.name, "closed");
  assert.equal(hm.state.code, 4401);
  assert.equal(server.commands("session:open").length, 1);
});

test("tokens that are all refused end the client after three", async () => {
  const { server, clock, hm } = setUp();
  server.refusedTokens.has = () => true;
  const opening = outcome(hm.connect());
  await clock.pass(600_000);
  assert.equal(server.commands("session:open").length, 3);
  assert.equal(hm.state.forGood, true);
  assert.equal((await opening).error.code, "CLOSED");
});

test("Unauthorized from getToken stops for good, any other error is retried", async () => {
  let asked = 0;
  const getToken = () => {
    if (++asked < 3) throw new Error("the identity provider is away");
    throw new Unauthorized("signed out");
  };
  const { clock, hm, errors } = setUp({ getToken });
  hm.connect().catch(() => {});
  await clock.pass(60_000);
  assert.equal(asked, 3);
  assert.deepEqual(errors.map(({ message }) => message), Array(2).fill("the identity provider is away"));
  assert.deepEqual(hm.state, { name: "closed", code: 4401, reason: "signed out", forGood: true });
});

test("a getToken that never answers is asked again, but not twice at once", async () => {
  let asked = 0;
  const { clock, hm } = setUp({ getToken: () => (asked++, new Promise(() => {})) });
  hm.connect().catch(() => {});
  await clock.pass(31_000);
  assert.equal(hm.state.name, "connecting");
  assert.equal(asked, 1);
});

test("an expiring token is refreshed on the open connection", async () => {
  const { server, clock, states, reasons } = await connected();
  server.socket.push({ type: "token:expiring", expiresAt: server.at });
  await clock.pass(1000);
  assert.deepEqual(reasons, ["connect", "expiring"]);
  assert.equal(server.commands("token:refresh")[0].token, "token-2");
  assert.deepEqual(names(states), ["connecting", "connected"]);
});

test("a refresh that fails is tried again before the token expires", async () => {
  let fails = true;
  const { server, clock } = await connected({ getToken: (reason) => {
    if (reason === "expiring" && fails) throw new Error("away");
    return "new";
  } });
  server.socket.push({ type: "token:expiring", expiresAt: server.at });
  await clock.pass(12_000);
  assert.equal(server.commands("token:refresh").length, 0);
  fails = false;
  await clock.pass(5000);
  assert.equal(server.commands("token:refresh").length, 1);
});

for (const reason of ["expiring", "request"]) {
  test(`Unauthorized stops for good also when a token is asked for as ${reason}`, async () => {
    const getToken = (asked) => {
      if (asked !== "connect") throw new Unauthorized("signed out");
      return "token";
    };
    const { server, clock, hm } = await connected({ getToken });
    if (reason === "expiring") server.socket.push({ type: "token:expiring", expiresAt: server.at });
    else server.answers.set("GET /me", () => ({ status: 401, error: "UNAUTHENTICATED" }));
    const asked = outcome(hm.rest.getMe());
    await clock.pass(1000);
    assert.deepEqual(hm.state, { name: "closed", code: 4401, reason: "signed out", forGood: true });
    if (reason === "request") assert.ok((await asked).error instanceof Unauthorized);
  });
}

test("a token that was refreshed is the refused one of a later 4401", async () => {
  const { server, clock, hm } = await connected();
  server.socket.push({ type: "token:expiring", expiresAt: server.at });
  await clock.pass(1000);
  server.refusedTokens.add("token-2");
  server.socket.closeByServer(4401);
  await clock.pass(1000);
  assert.equal(hm.state.name, "connected");
  assert.deepEqual(server.commands("session:open").map(({ token }) => token), ["token-1", "token-3"]);
});
