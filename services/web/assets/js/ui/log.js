// The messages of the room that is shown: in order, with days and notices
// between them and what is on its way out below; scrolling, and going through
// them by keyboard.

import { mayDelete, mayEdit } from "../rights.js";
import { t } from "../words.js";
import { byId, drawer, setText, showItems } from "./dom.js";
import { dayElement, dividerElement, follows, messageElement, noticeElement, outgoingElement } from "./message.js";
import { showError } from "./notices.js";

/** So near to the end counts as at the end; so near to the top asks for more. */
const AT_END_PX = 48;
const NEAR_TOP_PX = 200;

/**
 * @param {import("../chat.js").Chat} chat
 * @param {object} actions
 * @param {() => string} actions.active id of the room that is shown
 * @param {(message: object) => void} actions.reply
 * @param {(message: object) => void} actions.edit
 * @param {() => void} actions.leaveLog back to writing
 */
export function logView(chat, { active, reply, edit, leaveLog }) {
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
    if (switched) {
      shown = room.id;
      atEnd = true;
      list.replaceChildren();
    }
    const items = itemsOf(room);
    const last = items.at(-1)?.key ?? "";
    // Only what is new at the end is read aloud: neither a whole room nor the past.
    const live = !switched && last !== newest;
    scroller.setAttribute("aria-live", live ? "polite" : "off");
    const anchor = atEnd ? null : firstInSight();
    showItems(list, items);
    older.hidden = !room.hasOlder;
    older.disabled = room.loadingOlder;
    setText(older, t(room.loadingOlder ? "loading" : "load-older"));
    if (atEnd) scroller.scrollTop = scroller.scrollHeight;
    else if (anchor) putBack(anchor);
    toNewest.hidden = atEnd || (toNewest.hidden && last === newest);
    newest = last;
    if (!atEnd || room.messages.length === 0) fillTop();
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

  function elementOf(seq) {
    return list.querySelector(`[data-seq="${seq}"]`);
  }

  function putBack({ seq, bottom }) {
    const element = elementOf(seq);
    if (element) scroller.scrollTop += element.getBoundingClientRect().bottom - bottom;
  }

  function itemsOf(room) {
    const notices = [...room.notices];
    const items = [];
    let before = null; // the message above, if nothing stands between
    let lastDay = "";
    const notesUpTo = (seq) => {
      while (notices.length > 0 && notices[0].at < seq) {
        const notice = notices.shift();
        items.push({ key: notice.key, stamp: notice, build: () => noticeElement(notice) });
        before = null;
      }
    };
    let divided = room.divider === null;
    for (const message of room.messages) {
      notesUpTo(message.seq);
      const day = message.timestamp.toDateString();
      if (day !== lastDay) {
        items.push({ key: `day/${day}`, stamp: day, build: () => dayElement(message.timestamp) });
        lastDay = day;
        before = null;
      }
      if (!divided && message.seq > room.divider) {
        items.push({ key: `new/${room.divider}`, stamp: room.divider, build: dividerElement });
        divided = true;
        before = null;
      }
      items.push(messageItem(room, message, follows(before, message)));
      before = message;
    }
    notesUpTo(Infinity);
    for (const failed of room.failed) items.push(outgoingItem(failed, "failed"));
    const state = chat.ready && room.status === "joined" ? "sending" : "waiting";
    for (const waiting of chat.pending(room.id)) items.push(outgoingItem(waiting, state));
    return items;
  }

  function messageItem(room, message, under) {
    const target = message.data?.replyTo === undefined ? undefined : room.at(message.data.replyTo);
    return {
      key: `${room.id}/${message.seq}`,
      stamp: `${message.version}|${under}|${target?.version}`,
      build: () => messageElement(message, { follows: under, target, goTo }),
    };
  }

  function outgoingItem(outgoing, state) {
    const { id, roomId } = outgoing;
    const actions = { state, me: chat.me, again: () => chat.again(roomId, id), discard: () => chat.discard(roomId, id) };
    return { key: `out/${id}`, stamp: state, build: () => outgoingElement(outgoing, actions) };
  }

  // ---- Scrolling ------------------------------------------------------------

  function loadOlder() {
    chat.older(active()).catch(showError);
  }

  function fillTop() {
    if (scroller.scrollTop < NEAR_TOP_PX) loadOlder();
  }

  function toEnd() {
    atEnd = true;
    scroller.scrollTop = scroller.scrollHeight;
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
    if (atEnd) toEnd();
  }).observe(scroller);
  older.addEventListener("click", loadOlder);
  toNewest.addEventListener("click", () => {
    toEnd();
    leaveLog();
  });
  chat.addEventListener("room", ({ detail }) => {
    if (detail.roomId === active()) draw();
  });
  chat.addEventListener("state", draw); // what waits is sent, or waits again

  // ---- What can be done with a message --------------------------------------

  const toolbar = byId("message-actions");
  const buttons = { reply: byId("reply-message"), edit: byId("edit-message"), delete: byId("delete-message") };
  const acts = {
    reply,
    edit,
    delete: ({ seq }) => chat.line(active()).delete(seq).catch(showError),
  };

  function messageOf(element) {
    const item = element?.closest?.(".message[data-seq]");
    return item ? { item, message: chat.rooms.get(active())?.at(Number(item.dataset.seq)) } : {};
  }

  function allowed(message) {
    const room = chat.rooms.get(active());
    return {
      reply: !message.deleted && room.status !== "out",
      edit: mayEdit(room, message),
      delete: mayDelete(room, chat.me, message),
    };
  }

  function offer(element) {
    const { item, message } = messageOf(element);
    if (!message) return;
    const may = allowed(message);
    for (const name in buttons) buttons[name].hidden = !may[name];
    toolbar.hidden = !Object.values(may).some(Boolean);
    if (toolbar.parentElement !== item) item.append(toolbar);
  }

  function act(name, element) {
    const { message } = messageOf(element);
    if (message && allowed(message)[name]) acts[name](message);
  }

  function withdraw() {
    toolbar.hidden = true;
  }

  list.addEventListener("pointerover", ({ target }) => offer(target));
  list.addEventListener("focusin", ({ target }) => offer(target));
  scroller.addEventListener("pointerleave", () => {
    if (!list.contains(document.activeElement)) withdraw();
  });
  scroller.addEventListener("focusout", ({ relatedTarget }) => {
    if (!scroller.contains(relatedTarget)) withdraw();
  });
  for (const name in buttons) buttons[name].addEventListener("click", ({ target }) => act(name, target));

  // ---- By keyboard ----------------------------------------------------------

  const KEYS = { r: "reply", e: "edit", Delete: "delete" };

  function goTo(seq) {
    const element = elementOf(seq);
    element?.focus({ preventScroll: true });
    element?.scrollIntoView({ block: "center" });
  }

  /** The next message above or below. */
  function step(item, direction) {
    const property = direction < 0 ? "previousElementSibling" : "nextElementSibling";
    let next = item[property];
    while (next && !next.dataset.seq) next = next[property];
    next?.focus({ preventScroll: true });
    next?.scrollIntoView({ block: "nearest" });
  }

  scroller.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { target, key } = event;
    if (key === "Escape") return leaveLog();
    if (target === scroller && key === "Enter") {
      event.preventDefault();
      const last = [...list.querySelectorAll(".message[data-seq]")].at(-1);
      return last?.focus();
    }
    const { item } = messageOf(target);
    if (!item) return;
    if (key === "ArrowUp" || key === "ArrowDown") {
      event.preventDefault();
      step(item, key === "ArrowUp" ? -1 : 1);
    } else if (target === item && key in KEYS) {
      event.preventDefault();
      act(KEYS[key], item);
    } else if (target === item && key === "Enter") {
      event.preventDefault();
      toolbar.querySelector("button:not([hidden])")?.focus();
    }
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
