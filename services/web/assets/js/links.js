// What of a text is an address that may be followed. Pure.

// Format characters would let an address look like another: U+202E turns its end around.
const ADDRESS = /\bhttps?:\/\/[^\s<>"`{}|\\^\p{Cf}]+/giu;

/** What stands at the end of an address belongs to the sentence. */
const AFTER = /[.,;:!?'*_~，。；：！？、）】》」』”’]+$/;

/**
 * Splits a text into pieces: {text}, or {text, href} for an address. The texts
 * of the pieces together are the text.
 * @param {string} text
 */
export function pieces(text) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = trimmed(match[0]);
    const href = safe(address);
    if (!href) continue;
    if (match.index > end) found.push({ text: text.slice(end, match.index) });
    found.push({ text: address, href });
    end = match.index + address.length;
  }
  if (end < text.length) found.push({ text: text.slice(end) });
  return found;
}

function trimmed(address) {
  for (;;) {
    let shorter = address.replace(AFTER, "");
    // "(see https://host/a)", but "https://host/a_(b)".
    if (shorter.endsWith(")") && count(shorter, ")") > count(shorter, "(")) shorter = shorter.slice(0, -1);
    if (shorter.endsWith("]") && count(shorter, "]") > count(shorter, "[")) shorter = shorter.slice(0, -1);
    if (shorter === address) return address;
    address = shorter;
  }
}

function count(text, character) {
  return text.split(character).length - 1;
}

/** The address to go to, or undefined for one that is none, or that seems to lead elsewhere than it does. */
function safe(address) {
  try {
    const url = new URL(address);
    if (url.protocol !== "http:" && url.protocol !== "https:") return undefined;
    // "https://bank.example@elsewhere.example" leads elsewhere.
    return url.username || url.password ? undefined : url.href;
  } catch {
    return undefined;
  }
}
