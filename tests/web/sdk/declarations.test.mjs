// The declarations name what the modules have.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as sdk from "../../../server/web/sdk/halfminute.js";
import { setUp } from "./client.mjs";

const read = (name) => readFileSync(new URL(`../../../server/web/sdk/${name}`, import.meta.url), "utf8");
const { hm } = setUp();

test("each REST function is declared, and each declared one is there", () => {
  const body = read("rest.d.ts").match(/export interface Rest {\n([^]*?)\n}/)[1];
  const declared = [...body.matchAll(/(?:\*\/ |^  )(\w+)\(input/gm)].map(([, name]) => name);
  assert.ok(declared.length > 80);
  assert.deepEqual(Object.keys(hm.rest).sort(), declared.sort());
});

/** The bodies of the declared classes and interfaces, by name. */
function declared() {
  const found = read("halfminute.d.ts").matchAll(/^(?:export|declare) (?:class|interface) (\w+)[^{]*{\n([^]*?)^}/gm);
  return new Map([...found].map(([, name, body]) => [name, body]));
}

const methodsOf = (body) => [...body.matchAll(/^  (\w+)(?:<[^(]*>)?\(/gm)].map(([, name]) => name).filter((name) => name !== "constructor");

for (const [name, prototype] of [
  ["Halfminute", hm],
  ["Emitter", hm],
  ["Calls", hm.calls],
  ["Room", sdk.Room.prototype],
  ["Call", sdk.Call.prototype],
  ["Media", sdk.Media.prototype],
]) {
  test(`${name} has the methods that are declared`, () => {
    const methods = methodsOf(declared().get(name));
    assert.ok(methods.length > 0);
    for (const method of methods) assert.equal(typeof prototype[method], "function", method);
  });
}

test("every class that is declared as exported is exported", () => {
  const classes = [...read("halfminute.d.ts").matchAll(/^export class (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(Object.keys(sdk).sort(), classes.sort());
});
