// Texts for errors: ours for those that people meet, with figures, and the server's message for the others.

import { languageOf, moment } from "./words.js";

const UNSETTLED = [
  "NETWORK",
  "TIMEOUT",
  "DISCONNECTED",
  "STORAGE_UNAVAILABLE",
  "OVERLOADED",
  "DRAINING",
  "ROOM_STARTING",
];

/** Whether it is unknown what became of a payment: the same key finds out. */
export function isUnsettled({ code = "" }) {
  return UNSETTLED.includes(code) || code.startsWith("HTTP_5");
}

/** One or two sentences about an error, in the element's language. */
export function explain(element, error) {
  const { code, required, current, shortfall, retryAfter, problem } = error;
  if (code === "INSUFFICIENT_TOKENS") return element.t("fault.insufficient", { required, current, shortfall });
  if (code === "SPEND_LIMIT") return limited(element, problem);
  if (code === "RATE_LIMITED") return element.t("fault.hurry", { seconds: Math.ceil(retryAfter ?? 1) });
  if (code === "NETWORK" || code === "TIMEOUT" || code === "DISCONNECTED") return element.t("fault.network");
  if (code === "STORAGE_UNAVAILABLE" || code === "OVERLOADED" || code === "DRAINING") return element.t("fault.busy");
  if (code === "NOT_FOUND") return element.t("fault.missing");
  return element.t("failed", { reason: error.message });
}

function limited(element, { limit, spent, resetsAt }) {
  return element.t("fault.limit", { limit, spent, at: moment(languageOf(element), resetsAt) });
}
