// A form for each route: its parameters and body, filled with the examples of the OpenAPI document.

import { token } from "./caller.js";
import { form, labelled, make } from "./elements.js";

const SHOWN_MAX = 100_000; // characters of an answer; an export may be larger than a page can show
const HEADERS = ["content-type", "etag", "link", "retry-after", "ratelimit", "x-request-id"];

/** Adds the forms of all routes to the sections with their operation ids, each when its section is first opened. */
export function showRequests(openapi) {
  for (const [path, operations] of Object.entries(openapi.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const section = document.getElementById(operation.operationId);
      section?.addEventListener("toggle", () => section.lastElementChild.append(request(openapi, method, path, operation)), {
        once: true,
      });
    }
  }
}

function request(openapi, method, path, operation) {
  const fields = (operation.parameters ?? []).map((each) => parameter(openapi, resolved(openapi, each)));
  const media = Object.keys(operation.requestBody?.content ?? {})[0];
  const body = media && make("textarea", { rows: 8, spellcheck: false, value: example(operation.requestBody.content[media]) });
  const output = make("output", { "aria-live": "polite" });
  const send = async () => output.replaceChildren(...(await answerTo(method, path, fields, media, body)));
  const labels = fields.map(({ name, field }) => labelled(name, field));
  return make("div", {}, form("Send", send, ...labels, ...(body ? [labelled("Body", body)] : [])), output);
}

function resolved(openapi, { $ref, ...value }) {
  return $ref ? $ref.slice(2).split("/").reduce((at, step) => at[step], openapi) : value;
}

/** Returns the field of a parameter: a choice, or a line with the example, as a hint if it may be left out. */
function parameter(openapi, { name, in: place, required = false, schema = {}, example: given }) {
  const values = choices(openapi, schema);
  if (values) {
    const none = required ? [] : [new Option("", "")];
    return { name, place, field: make("select", {}, ...none, ...values.map((value) => new Option(value))) };
  }
  const known = `${given ?? schema.examples?.[0] ?? ""}`;
  const hint = required ? { value: known } : { placeholder: known };
  return { name, place, field: make("input", { required, spellcheck: false, ...hint }) };
}

/** Returns the values of an enumeration, also of one that may be null; undefined for another type. */
function choices(openapi, schema) {
  const { enum: values, anyOf = [] } = resolved(openapi, schema);
  return values ?? anyOf.map((each) => choices(openapi, each)).find(Boolean);
}

function example(content) {
  const value = content.example ?? Object.values(content.examples ?? {})[0]?.value ?? {};
  return JSON.stringify(value, null, 2);
}

async function answerTo(method, path, fields, media, body) {
  const query = new URLSearchParams();
  const headers = new Headers(token() ? { Authorization: `Bearer ${token()}` } : {});
  let address = path;
  for (const { name, place, field } of fields.filter(({ field }) => field.value !== "")) {
    if (place === "path") address = address.replace(`{${name}}`, encodeURIComponent(field.value));
    else if (place === "query") query.append(name, field.value);
    else headers.set(name, field.value);
  }
  if (media) headers.set("Content-Type", media);
  const began = performance.now();
  try {
    const url = query.size ? `${address}?${query}` : address;
    const answer = await fetch(url, { method: method.toUpperCase(), headers, body: body?.value });
    return shown(answer, await answer.text(), performance.now() - began);
  } catch (error) {
    return [make("p", {}, `No answer: ${error.message}`)];
  }
}

function shown(answer, text, ms) {
  const heads = HEADERS.filter((name) => answer.headers.has(name)).map((name) => `${name}: ${answer.headers.get(name)}`);
  return [
    make("p", {}, make("strong", {}, `${answer.status}`), ` in ${Math.round(ms)} ms`),
    make("pre", { tabIndex: 0 }, heads.join("\n")),
    make("pre", { tabIndex: 0 }, indented(text)),
  ];
}

function indented(text) {
  const cut = text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}\n… ${text.length - SHOWN_MAX} more characters` : text;
  try {
    return JSON.stringify(JSON.parse(cut), null, 2);
  } catch {
    return cut;
  }
}
