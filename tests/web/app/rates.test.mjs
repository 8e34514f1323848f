// The rates of the operator's charts, from counts that a server gives at two moments.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

// By its text: the module has no package that says that it is one.
const source = readFileSync(new URL("../../../server/web/app/operator/rates.js", import.meta.url), "utf8");
const { Rates } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

const ZERO = {
  connections: 3,
  calls: 1,
  streams: 2,
  waitingCommands: 4,
  batches: 10,
  postings: 20,
  commitSeconds: 1,
  blocks: 5,
  blockLatenessSeconds: 0.5,
  tokensSpent: 1000,
  deliveries: 100,
};
const at = (seconds, changed = {}) => ({ ...ZERO, ...changed, at: new Date(seconds * 1000).toISOString() });

test("a rate is the growth between two readings", () => {
  const rates = new Rates();
  rates.add(at(0));
  rates.add(
    at(2, { batches: 14, postings: 30, commitSeconds: 1.02, blocks: 7, blockLatenessSeconds: 0.503, tokensSpent: 1100, deliveries: 150 }),
  );
  const [first, { tokensPerMinute, deliveriesPerSecond, postingsPerBatch, commitMs, lateMs, connections }] = rates.points;
  assert.equal(first.tokensPerMinute, undefined);
  assert.deepEqual([tokensPerMinute, deliveriesPerSecond, postingsPerBatch, connections], [3000, 25, 2.5, 3]);
  assert.ok(Math.abs(commitMs - 5) < 1e-9 && Math.abs(lateMs - 1.5) < 1e-9);
});

test("a share of nothing is a gap", () => {
  const rates = new Rates();
  rates.add(at(0));
  rates.add(at(2));
  const { commitMs, lateMs, postingsPerBatch, tokensPerMinute } = rates.points[1];
  assert.deepEqual([commitMs, lateMs, postingsPerBatch, tokensPerMinute], [null, null, null, 0]);
});

test("a restart and a lost answer make no rate", () => {
  const rates = new Rates();
  rates.add(at(0));
  rates.add(at(2, { batches: 0, deliveries: 0 }));
  assert.equal(rates.points[1].tokensPerMinute, undefined);
  rates.addGap(4000);
  rates.add(at(6));
  assert.deepEqual(rates.points.map(({ tokensPerMinute }) => tokensPerMinute), [undefined, undefined, undefined, undefined]);
  assert.equal(rates.points[2].connections, undefined);
  rates.add(at(8, { tokensSpent: 1002 }));
  assert.equal(rates.points[4].tokensPerMinute, 60);
});

test("five minutes are kept", () => {
  const rates = new Rates();
  for (let i = 0; i < 400; i++) rates.add(at(2 * i));
  assert.equal(rates.points.length, 150);
  assert.equal(rates.points.at(-1).at, 798_000);
});
