// Texts for errors: ours for those that people meet, with figures, and the server's message for the others.

import { clock, languageOf, moment } from "./words.js";

const LOSSES = ["NETWORK", "TIMEOUT", "DISCONNECTED", "HTTP_502", "HTTP_504"];
const BUSY = ["STORAGE_UNAVAILABLE", "OVERLOADED", "DRAINING", "ROOM_STARTING", "HTTP_503"];

const UNSETTLED = [...LOSSES, ...BUSY];
// Refusals that people meet, each with a text `fault.CODE`.
const NAMED = [
  "ALREADY_IN_CALL",
  "ALREADY_LIVE",
  "ALREADY_PURCHASED",
  "CALL_ENDED",
  "CREATOR_BUSY",
  "CREATOR_UNAVAILABLE",
  "FORBIDDEN",
  "INTERNAL",
  "MUTED",
  "PAYMENTS_UNAVAILABLE",
  "RATE_CHANGED",
  "RING_COOLDOWN",
  "STREAM_ENDED",
  "STREAM_NOT_LIVE",
];

/** Whether it is unknown what became of a payment: the same key finds out. */
export function isUnsettled({ code = "" }) {
  return UNSETTLED.includes(code) || code.startsWith("HTTP_5");
}

/** Whether the server could not be reached. */
export const isLoss = ({ code }) => LOSSES.includes(code);

/** One or two sentences about an error, in the element's language. */
export function explain(element, error) {
  const { code, required, current, shortfall, retryAfter, problem } = error;
  if (code === "INSUFFICIENT_TOKENS") return element.t("fault.insufficient", { required, current, shortfall });
  if (code === "SPEND_LIMIT") return limited(element, problem);
  if (code === "RATE_LIMITED") return element.t("fault.hurry", { seconds: Math.ceil(retryAfter ?? 1) });
  if (isLoss(error)) return element.t("fault.network");
  if (BUSY.includes(code)) return element.t("fault.busy");
  if (code === "NOT_FOUND") return element.t("fault.missing");
  const reason = NAMED.includes(code)
    ? element.t(`fault.${code}`)
    : element.t("failed", { reason: error.message.replace(/\.$/, "") });
  return retryAfter ? `${reason} ${element.t("fault.later", { time: clock(retryAfter) })}` : reason;
}

function limited(element, { limit, spent, resetsAt }) {
  return element.t("fault.limit", { limit, spent, at: moment(languageOf(element), resetsAt) });
}
