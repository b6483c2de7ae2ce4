// The words of the page in the languages that it speaks. The English ones of
// fixed markup stand in index.html, too; a test holds them together.

import en from "./words/en.js";
import zh from "./words/zh.js";

export const languages = { en: "English", zh: "中文" };

const all = { en, zh };
let words = en;

/** The language that is in use; also for dates and numbers. */
export let language = "en";

/** @param {string[]} wanted languages, the dearest first */
export function speak(wanted) {
  const known = wanted.map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => tag in all);
  language = known ?? "en";
  words = all[language];
}

/** Characters with which a name would turn the direction of the sentence that it stands in. */
const TURNS = /[\u202a-\u202e\u2066-\u2069]/g;

/**
 * The text for a key, with what it names in braces put in. A text that depends
 * on a number `n` is a pair, for one and for others.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  let text = words[key] ?? en[key] ?? key;
  if (Array.isArray(text)) text = text[values.n === 1 ? 0 : 1];
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole).replace(TURNS, ""));
}

/** Puts the language into fixed markup: `data-t` is the key of the text, `data-t-<attribute>` that of an attribute. */
export function translate(root) {
  if (language === "en") return;
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const name of ["placeholder", "aria-label", "title"]) {
    for (const element of root.querySelectorAll(`[data-t-${name}]`)) element.setAttribute(name, t(element.getAttribute(`data-t-${name}`)));
  }
}

/** What to say of an error: the server's own words in English, which tell more; in other languages what its code means. */
export function sayError({ code, message }) {
  const said = words[`error-${code}`];
  if (language === "en") return sentence(message && message !== code ? message : (said ?? code));
  return said ?? sentence(message ?? code);
}

/** The server's words begin small and end without a full stop, as a log has them. */
function sentence(text = "") {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?。]$/.test(text) || text === "" ? "" : ".");
}
