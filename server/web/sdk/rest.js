// The REST interface: a function for each operation.

import { PASSING, makeKey, pauseAfter, sleep } from "./connection.js";
import { HalfminuteError, errorOf } from "./events.js";

const ATTEMPTS_MAX = 4;
const ANSWER_MS = 20_000;
const RETRY_AFTER_MAX = 10;
const REPEATED = [...PASSING, "NETWORK"];

// Written by server/web/rest_functions.py. `!` takes an idempotency key, `-` no token.
const OPERATIONS = `
GET- /config
GET /me
PUT /me
PUT /creators/me
GET /creators
GET /creators/{userId}
GET /creators/me/blocks
PUT /creators/me/blocks/{userId}
DELETE /creators/me/blocks/{userId}
GET /wallet
PUT /wallet/limits
GET /wallet/ledger
POST! /calls/init
POST /calls/{callId}/accept
POST /calls/{callId}/decline
POST /calls/{callId}/cancel
GET /calls/history
GET /calls/stats
GET /calls/{callId}
POST /streams
GET /streams
GET /streams/{streamId}
GET /streams/{streamId}/access
POST /streams/{streamId}/start
POST /streams/{streamId}/end
POST! /streams/{streamId}/tickets
POST! /tips/send
GET /tips
GET /tips/leaderboard
POST /billing/{callId}/pause
POST /billing/{callId}/resume
POST /billing/{callId}/stop
GET /billing/history
GET /billing/stats
GET /billing/{callId}
GET /billing/streams/{streamId}
POST! /admin/credits
GET /admin/credits
GET /admin/audit
GET /admin/rooms
GET /admin/purchases
GET /admin/payments
POST! /admin/payments/{paymentId}/settle
POST! /admin/purchases/{purchaseId}/settle
GET /admin/reversals
POST! /admin/reversals/{reversalId}/settle
GET /admin/calls/{callId}
GET /admin/streams/{streamId}
GET /admin/streams/{streamId}/blocks
GET /admin/users
GET /admin/users/{userId}
GET /admin/users/{userId}/wallet
GET /admin/users/{userId}/sessions
GET /admin/users/{userId}/ledger
GET /admin/users/{userId}/blocks
GET /admin/users/{userId}/tips
GET /admin/users/{userId}/calls
GET /admin/users/{userId}/streams
GET /admin/users/{userId}/purchases
GET /admin/users/{userId}/payouts
GET /admin/users/{userId}/reports
GET /admin/users/{userId}/bans
POST! /admin/refunds
GET /admin/refunds
GET- /tokens/packs
POST! /tokens/purchases
GET /tokens/purchases
GET /tokens/purchases/{purchaseId}
POST! /payouts
GET /payouts
GET /payouts/terms
GET /admin/payouts
POST /admin/payouts/{payoutId}
POST /reports
GET /admin/reports
POST /overlay-tokens
GET /overlay-tokens
DELETE /overlay-tokens/{tokenId}
POST /admin/bans
GET /admin/bans
DELETE /admin/bans/{userId}
GET /admin/overview
GET /admin/figures
GET /admin/journal
GET /wallet/export
GET /admin/wallets/{walletId}/export
GET /wallet/statement
GET /admin/wallets/{walletId}/statement
GET /admin/actions
GET /admin/reads
GET /admin/debts
GET- /demo/users
`;

export class Rest {
  #hm;

  constructor(hm) {
    this.#hm = hm;
    for (const line of OPERATIONS.trim().split("\n")) {
      const [, method, mark, path] = line.match(/(\w+)(.?) (.+)/);
      const name = method.toLowerCase() + path.replace(/\W+(\w?)/g, (_, first) => first.toUpperCase());
      this[name] = (input, settings) => this.#request(method, mark, path, input, settings);
    }
  }

  #request(method, mark, path, input = {}, { key = makeKey() } = {}) {
    const fields = JSON.parse(JSON.stringify(input)); // a copy without undefined ones
    const filled = path.replace(/{(\w+)}/g, (_, name) => {
      const value = fields[name];
      delete fields[name];
      return encodeURIComponent(value);
    });
    const headers = { "Content-Type": "application/json" };
    if (mark === "!") headers["Idempotency-Key"] = key;
    const query = Object.entries(fields).map((pair) => pair.map(encodeURIComponent).join("=")).join("&");
    if (method === "GET") return this.#repeat(filled + (query && `?${query}`), { method, headers }, mark);
    return this.#repeat(filled, { method, headers, body: JSON.stringify(fields) }, mark);
  }

  async #repeat(path, init, mark) {
    const { clock } = this.#hm;
    const mayRepeat = init.method !== "POST" || mark === "!";
    let refused;
    for (let attempts = 1; ; attempts++) {
      const token = mark !== "-" && (await this.#hm.tokenForRest(refused));
      try {
        return await this.#send(path, init, mark, token);
      } catch (error) {
        const { code, status, retryAfter } = error;
        error.key = init.headers["Idempotency-Key"];
        if (status === 401 && !refused) refused = token;
        else if (!mayRepeat || !REPEATED.includes(code) || attempts >= ATTEMPTS_MAX || retryAfter > RETRY_AFTER_MAX) throw error;
        else await sleep(clock, retryAfter * 1000 || pauseAfter(attempts, clock.random));
      }
    }
  }

  async #send(path, init, mark, token) {
    const { response, text } = await this.#fetch(path, init, token);
    const { headers, ok, status } = response;
    const body = /[/+]json/.test(headers.get("Content-Type")) ? JSON.parse(text) : text;
    if (!ok) {
      const error = status > 500 ? "OVERLOADED" : `HTTP_${status}`; // of a proxy
      throw errorOf({ status, error, retryAfterSeconds: Number(headers.get("Retry-After")) || undefined, ...(body.error && body) });
    }
    const next = headers.get("Link")?.match(/\/api([^>]+)>; rel="next"/);
    if (body.items) body.next = next ? () => this.#repeat(next[1], init, mark) : null;
    return body;
  }

  async #fetch(path, init, token) {
    const { clock, fetch, api } = this.#hm;
    const abort = new AbortController();
    const timer = clock.setTimeout(() => abort.abort(), ANSWER_MS);
    const headers = token ? { ...init.headers, Authorization: `Bearer ${token}` } : init.headers;
    try {
      const response = await fetch(api + path, { ...init, headers, signal: abort.signal });
      return { response, text: await response.text() };
    } catch (error) {
      throw new HalfminuteError("NETWORK", error.message);
    } finally {
      clock.clearTimeout(timer);
    }
  }
}
