// How one message looks, and what stands between messages.

import { pieces } from "../links.js";
import { language, sayError, t } from "../words.js";
import { button, make } from "./dom.js";

/** Messages of one author within this share a heading. */
const FOLLOWS_MS = 5 * 60_000;

/** So much of a message that is replied to is shown above the reply. */
const QUOTE_CHARACTERS = 120;

/** Whether a message stands under the heading of the one before it. */
export function follows(before, message) {
  return (
    before !== null &&
    before.mine === message.mine &&
    before.user.id === message.user.id && // two may be called the same
    before.user.username === message.user.username &&
    message.timestamp - before.timestamp < FOLLOWS_MS
  );
}

/**
 * @param {object} message of a Room
 * @param {object} how
 * @param {boolean} how.follows under the heading of the one before
 * @param {object} [how.target] the message that it replies to, if that is here
 * @param {(seq: number) => void} how.goTo
 */
export function messageElement(message, { follows, target, goTo }) {
  const { seq, id, user, mine, timestamp, edited } = message;
  return make(
    "li",
    { class: follows ? "message follows" : "message", data: { seq, id }, tabindex: "-1" },
    head(user.username, timestamp, mine),
    quote(message, target, goTo),
    body(message),
    edited ? make("span", { class: "note" }, t("edited")) : "",
  );
}

/** A message on its way out, or one that will not be sent. */
export function outgoingElement({ id, content, writtenAt, reason }, { state, me, again, discard }) {
  const note = state === "failed" ? t("not-sent", { reason: sayError(reason) }) : t(state);
  return make(
    "li",
    { class: `message ${state}`, data: { id, state } },
    head(me.username, new Date(writtenAt), true),
    make("div", { class: "text" }, ...linked(content)),
    make("span", { class: "note" }, note),
    ...(state === "failed" ? [button(t("again"), again, { class: "link" }), button(t("discard"), discard, { class: "link" })] : []),
  );
}

export function dayElement(timestamp) {
  return make("li", { class: "day" }, new Intl.DateTimeFormat(language, { dateStyle: "full" }).format(timestamp));
}

export function dividerElement() {
  return make("li", { class: "divider" }, t("new-line"));
}

export function noticeElement({ kind, user, text }) {
  const said = kind === "kicked" && text ? t("kicked-why", { reason: text }) : t(kind, { user: user?.username ?? "" });
  return make("li", { class: "notice" }, said);
}

function head(name, timestamp, mine) {
  return make("div", { class: "head" }, make("span", { class: mine ? "author mine" : "author" }, name), timeElement(timestamp));
}

function timeElement(time) {
  if (Number.isNaN(time.getTime())) return "";
  const clock = new Intl.DateTimeFormat(language, { timeStyle: "short" });
  return make("time", { datetime: time.toISOString(), title: time.toLocaleString(language) }, clock.format(time));
}

function quote({ data, deleted }, target, goTo) {
  const seq = data?.replyTo;
  if (!Number.isSafeInteger(seq) || deleted) return "";
  const text = target ? `${target.user.username}: ${target.deleted ? t("is-deleted") : (target.content ?? "")}` : t("earlier-message");
  return button(`↪ ${shortened(text)}`, () => goTo(seq), { class: "quote", disabled: !target });
}

/** The beginning of a text, in one line. */
export function shortened(text) {
  const line = [...text.replace(/\s+/g, " ")];
  return line.length > QUOTE_CHARACTERS ? `${line.slice(0, QUOTE_CHARACTERS).join("")}…` : line.join("");
}

function body({ content, data, deleted }) {
  if (deleted) return make("div", { class: "text gone" }, t("is-deleted"));
  if (content !== undefined) return make("div", { class: "text" }, ...linked(content));
  return make("div", { class: "text data" }, JSON.stringify(data) ?? "");
}

// Addresses become links to another tab, which learns nothing of this one.
function linked(content = "") {
  return pieces(content).map(({ text, href }) =>
    href ? make("a", { class: "external", href, target: "_blank", rel: "noopener noreferrer nofollow ugc" }, text) : text,
  );
}
