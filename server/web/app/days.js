// Days and months of the reader's time zone, as the API writes them: `2026-11-30` and `2026-11`.

/** The reader's time zone, such as `Europe/Berlin`. */
export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** The latest `count` days, the oldest first and today last. */
export function latestDays(count) {
  const today = new Date();
  // Noon exists on every day, also where the clocks change at midnight.
  const at = (ago) => new Date(today.getFullYear(), today.getMonth(), today.getDate() - ago, 12);
  return Array.from({ length: count }, (_, index) => written(at(count - 1 - index)));
}

/** The latest `count` months, the present one first. */
export function latestMonths(count) {
  const today = new Date();
  const at = (ago) => new Date(today.getFullYear(), today.getMonth() - ago, 1, 12);
  return Array.from({ length: count }, (_, ago) => written(at(ago)).slice(0, "2026-11".length));
}

/** A day in short, such as 30 Nov. */
export function dayOf(language, day) {
  return shown(language, day, { day: "numeric", month: "short" });
}

/** A month with its year. */
export function monthOf(language, month) {
  return shown(language, `${month}-01`, { month: "long", year: "numeric" });
}

function shown(language, day, form) {
  return new Intl.DateTimeFormat(language, { ...form, timeZone: "UTC" }).format(new Date(`${day}T12:00Z`));
}

function written(date) {
  const two = (number) => `${number}`.padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
