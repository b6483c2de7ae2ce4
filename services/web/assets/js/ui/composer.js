// Writing a message, with a draft per room; replying, editing; and who else is
// writing.

import { mayEdit } from "../rights.js";
import { t } from "../words.js";
import { byId, setText } from "./dom.js";
import { shortened } from "./message.js";
import { showError } from "./notices.js";

/** A typing signal goes out at most this often; others show it for 5 s. */
const TYPING_EVERY_MS = 3000;

/** Messages that wait in a room; then writing has to wait. */
const MAX_WAITING = 50;

const DEFAULT_MAX_BYTES = 16 * 1024;

/**
 * @param {import("../chat.js").Chat} chat
 * @param {object} actions
 * @param {() => string} actions.active id of the room that is shown
 * @param {() => void} actions.written
 */
export function composerView(chat, { active, written }) {
  const input = byId("message");
  const note = byId("composer-note");
  const typing = byId("typing");
  const about = byId("composer-about");
  const submit = byId("send");
  const drafts = new Map(); // room id → text; one per open room
  let subject = null; // {message, edits, draft} that is replied to or edited
  let shown = "";
  let signalled = 0;
  let fading;

  function send() {
    const content = input.value.trim() === "" ? "" : input.value;
    const problem = refusal(content);
    setText(note, problem);
    if (!content || problem) return;
    const room = chat.rooms.get(active());
    if (subject?.edits) {
      const { message } = subject;
      if (content !== message.content) chat.line(room.id).edit(message.seq, content).catch(showError);
      return setSubject(null);
    }
    if (!subject) chat.write(room.id, content);
    // The lobby has no place for more than text.
    else if (room.isLobby) chat.write(room.id, `@${subject.message.user.username} ${content}`);
    else chat.write(room.id, content, { replyTo: subject.message.seq });
    input.value = "";
    setSubject(null);
    signalled = 0;
    written();
  }

  function refusal(content) {
    const room = chat.rooms.get(active());
    if (!room || room.status === "out") return t("not-in-room");
    const most = chat.limits.maxContentBytes || DEFAULT_MAX_BYTES;
    const bytes = new TextEncoder().encode(content).length;
    if (bytes > most) return t("too-long", { n: bytes - most });
    if (chat.pending(room.id).length >= MAX_WAITING) return t("error-outbox-full");
    return "";
  }

  /** What is written is about a message, or (null) not. */
  function setSubject(next) {
    if (subject?.edits) input.value = subject.draft;
    if (next?.edits) {
      next.draft = input.value;
      input.value = next.message.content;
    }
    subject = next;
    about.hidden = !next;
    if (next) {
      const { edits, message } = next;
      setText(byId("composer-subject"), edits ? t("editing") : `${t("replying-to", { user: message.user.username })}: ${shortened(message.content ?? "")}`);
    }
    setText(submit, t(next?.edits ? "save" : "send"));
    fit();
  }

  function begin(message, edits) {
    setSubject(null);
    setSubject({ message, edits });
    input.focus();
  }

  function editLast() {
    const room = chat.rooms.get(active());
    const last = room?.messages.findLast((message) => mayEdit(room, message));
    if (last) begin(last, true);
  }

  // For browsers without field-sizing. The style is set through the CSSOM,
  // which the Content-Security-Policy permits.
  function fit() {
    input.style.height = "auto";
    input.style.height = `${input.scrollHeight + 2}px`;
  }

  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
    input.focus();
  });
  byId("cancel-subject").addEventListener("click", () => {
    setSubject(null);
    input.focus();
  });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape" && subject) {
      event.stopPropagation();
      setSubject(null);
    } else if (event.key === "ArrowUp" && input.value === "" && !event.altKey) {
      event.preventDefault();
      editLast();
    } else if (event.key === "Enter" && !event.shiftKey) {
      // Enter that ends the composition of a character is not the end of a message.
      event.preventDefault();
      send();
    }
  });
  input.addEventListener("input", () => {
    setText(note, "");
    fit();
    const now = Date.now();
    if (input.value.trim() !== "" && !subject?.edits && now - signalled > TYPING_EVERY_MS) {
      signalled = now;
      chat.typing(active());
    }
  });

  function drawTyping() {
    clearTimeout(fading);
    const names = chat.rooms.get(active())?.typing() ?? [];
    const [a, b] = names;
    setText(typing, names.length === 0 ? "" : t(names.length > 2 ? "typing-many" : `typing-${names.length}`, { a, b }));
    if (names.length > 0) fading = setTimeout(drawTyping, 1000);
  }

  chat.addEventListener("people", drawTyping);
  chat.addEventListener("room", drawTyping);

  return {
    reply: (message) => begin(message, false),
    edit: (message) => begin(message, true),
    /** After the room that is shown became another. */
    switched() {
      if (shown !== active()) {
        setSubject(null);
        if (shown) drafts.set(shown, input.value);
        for (const roomId of drafts.keys()) if (!chat.rooms.has(roomId)) drafts.delete(roomId);
        shown = active();
        input.value = drafts.get(shown) ?? "";
        signalled = 0;
      }
      setText(note, "");
      fit();
      drawTyping();
    },
    clear() {
      setSubject(null);
      drafts.clear();
      shown = "";
      input.value = "";
    },
    focus: () => input.focus(),
  };
}
