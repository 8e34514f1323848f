// The texts of the elements in English and German, and numbers and times in the reader's own form.

import { ENGLISH } from "./english.js";
import { GERMAN } from "./german.js";

const CATALOGUES = { en: ENGLISH, de: GERMAN };

/** Adds the texts of a page that is made of our elements, by language. Throws for a name that is taken. */
export function addTexts(catalogues) {
  for (const [language, texts] of Object.entries(catalogues)) {
    const taken = Object.keys(texts).find((name) => name in CATALOGUES[language]);
    if (taken) throw new Error(`a text is named ${taken} already`);
    Object.assign(CATALOGUES[language], texts);
  }
}

/** The language of an element: the nearest `lang` attribute, then the browser's; English if we have no texts in it. */
export function languageOf(element) {
  const named = element.lang || element.closest("[lang]")?.lang || document.documentElement.lang || navigator.language;
  const language = named.slice(0, 2).toLowerCase();
  return language in CATALOGUES ? language : "en";
}

/** A text with its gaps, such as `{name}`, filled; a number is written as the language does. */
export function phrase(language, name, values = {}) {
  const text = CATALOGUES[language][name] ?? ENGLISH[name];
  if (text === undefined) throw new Error(`no text is named ${name}`);
  return text.replace(/\{(\w+)\}/g, (_, gap) => shown(language, values[gap]));
}

function shown(language, value) {
  return typeof value === "number" ? new Intl.NumberFormat(language).format(value) : `${value}`;
}

/** A price, such as 6.99 USD for 699 cents. */
export function price(language, cents, currency) {
  return new Intl.NumberFormat(language, { style: "currency", currency }).format(cents / 100);
}

/** The price of one token, such as 0.0699 USD; `decimal` is a text, so that it is exact. */
export function pricePerToken(language, decimal, currency) {
  const digits = { minimumFractionDigits: 4, maximumFractionDigits: 4 };
  return new Intl.NumberFormat(language, { style: "currency", currency, ...digits }).format(decimal);
}

/** A share of one, such as 5 % for 0.05. */
export function percentage(language, share) {
  return new Intl.NumberFormat(language, { style: "percent" }).format(share);
}

/** Minutes and seconds, such as 2:05. */
export function clock(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(whole / 60)}:${`${whole % 60}`.padStart(2, "0")}`;
}

/** A date with the time of day. */
export function moment(language, at) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(at));
}
