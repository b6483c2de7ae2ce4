// Writing a message, with a draft per room; and who else is writing.

import { byId } from "./dom.js";

/** A typing signal goes out at most this often; others show it for 5 s. */
const TYPING_EVERY_MS = 3000;

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
  const drafts = new Map(); // room id → text; one per open room
  let shown = "";
  let signalled = 0;
  let fading;

  function send() {
    const content = input.value.trim() === "" ? "" : input.value;
    const problem = refusal(content);
    note.textContent = problem;
    if (!content || problem) return;
    chat.write(active(), content);
    input.value = "";
    fit();
    signalled = 0;
    written();
  }

  function refusal(content) {
    const room = chat.rooms.get(active());
    if (!room || room.status === "out") return "You are not in this room.";
    const most = chat.limits.maxContentBytes || DEFAULT_MAX_BYTES;
    const bytes = new TextEncoder().encode(content).length;
    if (bytes > most) return `This is too long by ${bytes - most} bytes.`;
    if (chat.outbox.isFull(room.id)) return "Too many messages are waiting to be sent.";
    return "";
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
  input.addEventListener("keydown", (event) => {
    // Enter that ends the composition of a character is not the end of a message.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  input.addEventListener("input", () => {
    note.textContent = "";
    fit();
    const now = Date.now();
    if (input.value.trim() !== "" && now - signalled > TYPING_EVERY_MS) {
      signalled = now;
      chat.typing(active());
    }
  });

  function drawTyping() {
    clearTimeout(fading);
    const names = chat.rooms.get(active())?.typing() ?? [];
    const [first, second] = names;
    const text =
      names.length === 0
        ? ""
        : names.length === 1
          ? `${first} is typing…`
          : names.length === 2
            ? `${first} and ${second} are typing…`
            : "Several people are typing…";
    if (typing.textContent !== text) typing.textContent = text;
    if (names.length > 0) fading = setTimeout(drawTyping, 1000);
  }

  chat.addEventListener("people", drawTyping);
  chat.addEventListener("room", drawTyping);

  return {
    /** After the room that is shown became another. */
    switched() {
      if (shown) drafts.set(shown, input.value);
      for (const roomId of drafts.keys()) if (!chat.rooms.has(roomId)) drafts.delete(roomId);
      shown = active();
      input.value = drafts.get(shown) ?? "";
      note.textContent = "";
      signalled = 0;
      fit();
      drawTyping();
    },
    clear() {
      drafts.clear();
      shown = "";
      input.value = "";
    },
    focus: () => input.focus(),
  };
}
