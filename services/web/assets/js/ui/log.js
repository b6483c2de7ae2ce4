// The messages of the room that is shown: in order, with days and notices
// between them and what is on its way out below.

import { byId, drawer, make, showItems } from "./dom.js";
import { showNotice } from "./notices.js";

/** So near to the end counts as at the end; so near to the top asks for more. */
const AT_END_PX = 48;
const NEAR_TOP_PX = 200;

/** Messages of one author within this share a heading. */
const FOLLOWS_MS = 5 * 60_000;

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

/**
 * @param {import("../chat.js").Chat} chat
 * @param {() => string} active id of the room that is shown
 */
export function logView(chat, active) {
  const scroller = byId("log-scroll");
  const list = byId("log");
  const older = byId("load-older");
  const toNewest = byId("to-newest");
  let shown = ""; // the room that was drawn last
  let atEnd = true;
  let newest = "";

  const draw = drawer(() => {
    const room = chat.rooms.get(active());
    if (!room) return;
    const switched = room.id !== shown;
    const items = itemsOf(room);
    const last = items.at(-1)?.key ?? "";
    if (switched) {
      shown = room.id;
      atEnd = true;
      list.replaceChildren();
    }
    // Only what is new at the end is read aloud: neither a whole room nor the past.
    const live = !switched && last !== newest;
    scroller.setAttribute("aria-live", live ? "polite" : "off");
    const anchor = atEnd ? null : firstInSight();
    showItems(list, items);
    older.hidden = !room.hasOlder;
    older.disabled = room.loadingOlder;
    older.textContent = room.loadingOlder ? "Loading…" : "Load older messages";
    if (atEnd) scroller.scrollTop = scroller.scrollHeight;
    else if (anchor) putBack(anchor);
    toNewest.hidden = atEnd || (toNewest.hidden && last === newest);
    newest = last;
    if (!atEnd) fillTop();
  });

  /**
   * The first message in sight and where it ends, to be put there again. Its
   * end, because its heading may go when older messages come in above it; and
   * its seq, because it is another element then.
   */
  function firstInSight() {
    const { top } = scroller.getBoundingClientRect();
    for (const element of list.children) {
      const { bottom } = element.getBoundingClientRect();
      if (bottom > top && element.dataset.seq) return { seq: element.dataset.seq, bottom };
    }
    return null;
  }

  function putBack({ seq, bottom }) {
    const element = list.querySelector(`[data-seq="${seq}"]`);
    if (element) scroller.scrollTop += element.getBoundingClientRect().bottom - bottom;
  }

  function itemsOf(room) {
    const notices = [...room.notices];
    const items = [];
    let before = null; // the message above, if nothing stands between
    let lastDay = "";
    const notesUpTo = (seq) => {
      while (notices.length > 0 && notices[0].at < seq) {
        items.push(noticeItem(notices.shift()));
        before = null;
      }
    };
    for (const message of room.messages) {
      notesUpTo(message.seq);
      const day = new Date(message.timestamp).toDateString();
      if (day !== lastDay) {
        items.push(dayItem(message));
        lastDay = day;
        before = null;
      }
      items.push(messageItem(message, before !== null && sameAuthor(before, message)));
      before = message;
    }
    notesUpTo(Infinity);
    for (const entry of chat.outbox.of(room.id)) items.push(outgoingItem(entry));
    return items;
  }

  function messageItem(message, follows) {
    return {
      key: `${shown}/${message.seq}`,
      stamp: follows ? message : wrap(message),
      build: () => {
        const mine = message.user.id ? message.user.id === chat.me.id : message.user.username === chat.me.username;
        return make(
          "li",
          { class: follows ? "message follows" : "message", data: { seq: message.seq, id: message.id } },
          make(
            "div",
            { class: "head" },
            make("span", { class: mine ? "author mine" : "author" }, message.user.username),
            timeOf(message.timestamp),
          ),
          body(message),
          message.edited ? make("span", { class: "note" }, "edited") : "",
        );
      },
    };
  }

  function outgoingItem({ id, content, state, reason, time, roomId }) {
    return {
      key: `out/${id}`,
      stamp: `${state}|${reason}`,
      build: () =>
        make(
          "li",
          { class: `message ${state}`, data: { id, state } },
          make("div", { class: "head" }, make("span", { class: "author mine" }, chat.me.username), timeOf(time)),
          make("div", { class: "text" }, content),
          make("span", { class: "note" }, outgoingNote(state, reason)),
          ...(state === "failed"
            ? [
                make("button", { type: "button", class: "link", on: { click: () => chat.outbox.retry(roomId, id) } }, "Send again"),
                make("button", { type: "button", class: "link", on: { click: () => chat.outbox.discard(roomId, id) } }, "Discard"),
              ]
            : []),
        ),
    };
  }

  function loadOlder() {
    chat.older(active()).catch((error) => showNotice(error.message));
  }

  function fillTop() {
    if (scroller.scrollTop < NEAR_TOP_PX && scroller.scrollHeight > scroller.clientHeight) loadOlder();
  }

  scroller.addEventListener("scroll", () => {
    atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < AT_END_PX;
    const room = chat.rooms.get(active());
    if (room) room.reading = !atEnd;
    if (atEnd) toNewest.hidden = true;
    else fillTop();
  });
  // A keyboard that opens, or a window made smaller, must not hide the end.
  new ResizeObserver(() => {
    if (atEnd) scroller.scrollTop = scroller.scrollHeight;
  }).observe(scroller);
  older.addEventListener("click", loadOlder);
  toNewest.addEventListener("click", () => {
    atEnd = true;
    scroller.scrollTop = scroller.scrollHeight;
    byId("message").focus();
  });
  chat.addEventListener("room", ({ detail }) => {
    if (detail.roomId === active()) draw();
  });

  return {
    draw,
    /** After writing a message, its author wants to see it. */
    toEnd() {
      atEnd = true;
      draw();
    },
  };
}

// A message with a heading and the same one without are drawn differently, so
// they need different stamps; both change when the message object does.
const headed = new WeakMap();
function wrap(message) {
  if (!headed.has(message)) headed.set(message, { message });
  return headed.get(message);
}

function sameAuthor(a, b) {
  return (
    // What is said in the lobby carries only a name while it is live.
    (a.user.id === b.user.id || !a.user.id || !b.user.id) &&
    a.user.username === b.user.username &&
    Date.parse(b.timestamp) - Date.parse(a.timestamp) < FOLLOWS_MS
  );
}

function body({ content, data, deleted }) {
  if (deleted) return make("div", { class: "text gone" }, "This message was deleted.");
  if (content !== undefined) return make("div", { class: "text" }, content);
  return make("div", { class: "text data" }, JSON.stringify(data) ?? "");
}

function timeOf(timestamp) {
  const time = new Date(timestamp);
  if (Number.isNaN(time.getTime())) return "";
  return make("time", { datetime: timestamp, title: time.toLocaleString() }, clock.format(time));
}

function dayItem({ seq, timestamp }) {
  const time = new Date(timestamp);
  const text = Number.isNaN(time.getTime()) ? "" : calendar.format(time);
  return { key: `day/${seq}`, stamp: timestamp, build: () => make("li", { class: "day" }, text) };
}

function noticeItem(notice) {
  return { key: notice.key, stamp: notice, build: () => make("li", { class: "notice" }, noticeText(notice)) };
}

function noticeText({ kind, user, text }) {
  switch (kind) {
    case "joined":
      return `${user.username} joined`;
    case "left":
      return `${user.username} left`;
    case "missed":
      return "Some messages came and went while you were away; these are the newest.";
    case "renewed":
      return "This room was begun anew.";
    case "skipped":
      return "Much was written while you were away; these are the newest messages. Scroll up for the rest.";
    default:
      return text ?? "";
  }
}

function outgoingNote(state, reason) {
  if (state === "failed") return `Not sent: ${reason}`;
  return state === "sending" ? "Sending…" : reason ? `Waiting: ${reason}` : "Waiting for the connection";
}
