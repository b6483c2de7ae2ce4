// Puts the application together: the session, the chat, the views, and what
// the browser tells a page (hidden, shown, online, offline).

import { Chat } from "./chat.js";
import { LOBBY } from "./rooms.js";
import { Session } from "./session.js";
import { composerView } from "./ui/composer.js";
import { byId } from "./ui/dom.js";
import { drawersView } from "./ui/drawers.js";
import { logView } from "./ui/log.js";
import { showNotice } from "./ui/notices.js";
import { peopleView } from "./ui/people.js";
import { roomView } from "./ui/room.js";
import { roomsView } from "./ui/rooms.js";
import { signInView } from "./ui/signin.js";
import { statusView } from "./ui/status.js";

const RENEW_CHECK_MS = 15_000;

const api = new URL("api/", document.baseURI);
const socket = new URL("ws", document.baseURI);
socket.protocol = socket.protocol === "https:" ? "wss:" : "ws:";

const tab = storage("sessionStorage");
const session = new Session({
  api: api.href,
  fetch: (...request) => fetch(...request),
  tab,
  device: storage("localStorage"),
  locks: navigator.locks, // not there on plain http from another machine
});
const chat = new Chat({ url: socket.href, token: (how) => session.token(how) });

let active = LOBBY;
const getActive = () => active;

const drawers = drawersView();
const log = logView(chat, getActive);
const composer = composerView(chat, { active: getActive, written: log.toEnd });
const people = peopleView(chat, getActive);
const room = roomView(chat, { active: getActive, leave });
const rooms = roomsView(chat, { active: getActive, open });
const status = statusView(chat);
const signIn = signInView(session, enter);

// ---- The room that is shown -------------------------------------------------

function open(roomId, name) {
  if (!chat.rooms.has(roomId)) {
    chat.join(roomId, name).catch((error) => showNotice(error.message));
    if (!chat.rooms.has(roomId)) return;
  }
  show(roomId);
  drawers.close();
  composer.focus();
}

function show(roomId) {
  active = roomId;
  attend();
  composer.switched();
  for (const view of [log, people, room, rooms]) view.draw();
  const shown = chat.rooms.get(roomId);
  if (shown?.status === "joined" && shown.members.size === 0) chat.loadMembers(roomId).catch(() => {});
}

function leave(roomId) {
  chat.leave(roomId).catch((error) => showNotice(error.message));
}

/** What is shown on a visible page counts as read. */
function attend() {
  chat.attending = document.hidden ? null : active;
  if (chat.attending) chat.read(active);
}

// ---- Signing in and out -----------------------------------------------------

function enter() {
  const { user } = session;
  signIn.hide();
  byId("chat-view").hidden = false;
  chat.start(user ?? { id: "", username: "" }, rememberedRooms(user));
  show(LOBBY);
  status.draw();
  composer.focus();
}

function exit(reason) {
  chat.stop();
  composer.clear();
  people.clear();
  drawers.close();
  byId("chat-view").hidden = true;
  document.title = "Parley";
  signIn.show(reason);
}

byId("sign-out").addEventListener("click", async () => {
  const ended = session.signOut();
  exit();
  await ended;
});

chat.addEventListener("stopped", ({ detail: { reason, signIn: again } }) => {
  if (!again) return; // the status says it
  session.forget();
  exit(reason);
});
chat.addEventListener("state", () => {
  if (chat.me) byId("me").textContent = chat.me.username;
});
chat.addEventListener("notice", ({ detail: { text, kind } }) => showNotice(text, kind));

// ---- Rooms over a reload of the page ----------------------------------------

function roomsKey(user) {
  return `parley.rooms.${user.id}`;
}

function rememberedRooms(user) {
  try {
    const ids = JSON.parse(tab.getItem(roomsKey(user)));
    return Array.isArray(ids) ? ids.filter((id) => typeof id === "string" && id !== LOBBY) : [];
  } catch {
    return [];
  }
}

chat.addEventListener("rooms", () => {
  if (!chat.me?.id) return;
  if (!chat.rooms.has(active)) show(LOBBY);
  const ids = [...chat.rooms.values()].filter(({ status, isLobby }) => status !== "out" && !isLobby).map(({ id }) => id);
  tab.setItem(roomsKey(chat.me), JSON.stringify(ids));
});

/** A browser's storage, or a replacement for the life of the page where it is forbidden. */
function storage(name) {
  try {
    const real = window[name];
    real.getItem("parley");
    return real;
  } catch {
    const kept = new Map();
    return {
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => kept.set(key, value),
      removeItem: (key) => kept.delete(key),
    };
  }
}

// ---- What the browser says --------------------------------------------------

document.addEventListener("visibilitychange", () => {
  attend();
  if (!document.hidden) chat.check();
});
window.addEventListener("online", () => {
  chat.retryNow();
  chat.check();
});
window.addEventListener("offline", () => chat.check());
// Signed out in another tab.
window.addEventListener("storage", ({ key }) => {
  if ((key === null || key === "parley.session") && chat.me && !session.present) exit("You signed out.");
});
setInterval(() => {
  if (Date.now() >= session.renewAt) chat.renewToken().catch(() => {}); // the next round tries again
}, RENEW_CHECK_MS);

document.addEventListener("keydown", (event) => {
  if (!event.altKey || !chat.me || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
  event.preventDefault();
  const ids = [...chat.rooms.keys()];
  const step = event.key === "ArrowDown" ? 1 : -1;
  open(ids[(ids.indexOf(active) + step + ids.length) % ids.length]);
});

if (session.present) enter();
else signIn.show();
