// Puts the application together: the session, the chat, the views, and what
// the browser tells a page (hidden, shown).

import { Chat } from "./chat.js";
import { Kept, storage } from "./kept.js";
import { LOBBY } from "./room.js";
import { Session, SignedOut } from "./session.js";
import { language, speak, t, translate } from "./words.js";
import { composerView } from "./ui/composer.js";
import { byId } from "./ui/dom.js";
import { drawersView } from "./ui/drawers.js";
import { logView } from "./ui/log.js";
import { showError, showNotice } from "./ui/notices.js";
import { peopleView } from "./ui/people.js";
import { personView } from "./ui/person.js";
import { roomView, whyOut } from "./ui/room.js";
import { openRooms, roomsView } from "./ui/rooms.js";
import { roomSettingsView } from "./ui/roomsettings.js";
import { settingsView } from "./ui/settings.js";
import { signInView } from "./ui/signin.js";
import { statusView } from "./ui/status.js";

const device = storage("localStorage");
const tab = storage("sessionStorage");
const kept = new Kept(device, tab);
const chosen = kept.setting("language");
speak(chosen ? [chosen] : navigator.languages);
document.documentElement.lang = language;
translate(document);

const session = new Session({
  api: new URL("api/", document.baseURI).href,
  fetch: (...request) => fetch(...request),
  tab,
  device,
  locks: navigator.locks, // not there on plain http from another machine
});
const chat = new Chat({
  url: new URL("ws", document.baseURI),
  getToken: async (why) => {
    try {
      return await session.token(why);
    } catch (error) {
      if (error instanceof SignedOut) return null;
      throw error;
    }
  },
});

let active = LOBBY;
const getActive = () => active;

const drawers = drawersView();
const composer = composerView(chat, { active: getActive, written: () => log.toEnd() });
const log = logView(chat, { active: getActive, reply: composer.reply, edit: composer.edit, leaveLog: composer.focus });
const person = personView(chat, { active: getActive, openRoom: open, changed: () => people.loadMembers() });
const people = peopleView(chat, { active: getActive, open: person.open });
const room = roomView(chat, { active: getActive, leave });
const rooms = roomsView(chat, { active: getActive, open });
const roomSettings = roomSettingsView(chat, getActive);
const settings = settingsView(chat, { session, kept });
const status = statusView(chat);
const signIn = signInView(session, enter);

// ---- The room that is shown -------------------------------------------------

function open(roomId, name) {
  if (!chat.rooms.has(roomId)) {
    chat.join(roomId, { name }).catch(showError);
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
  if (chat.rooms.get(roomId)?.members.size === 0) people.loadMembers();
}

function leave(roomId) {
  chat.leave(roomId).catch(showError);
}

/** What is shown on a visible page counts as read. */
function attend() {
  chat.attend(document.hidden ? null : active);
}

document.addEventListener("visibilitychange", () => {
  if (!chat.me) return;
  attend();
  log.draw();
});

// ---- Signing in and out -----------------------------------------------------

function enter() {
  const user = session.user ?? { id: "", username: "" };
  signIn.hide();
  byId("chat-view").hidden = false;
  chat.start(user, kept.rooms(user));
  show(LOBBY);
  status.draw();
  composer.focus();
}

function exit(reason) {
  chat.stop();
  for (const view of [composer, people, rooms, settings]) view.clear();
  for (const view of [drawers, person, roomSettings, settings]) view.close();
  byId("chat-view").hidden = true;
  document.title = "Parley";
  signIn.show(reason);
}

byId("sign-out").addEventListener("click", async () => {
  const ended = session.signOut();
  exit();
  await ended;
});

chat.addEventListener("stopped", ({ detail: { code, signIn: again } }) => {
  if (!again) return; // the status says it
  session.forget();
  exit(t(`again-${code}`));
});
chat.addEventListener("state", () => {
  if (chat.me) byId("me").textContent = chat.me.username;
});
chat.addEventListener("notice", ({ detail: { kind, key, text, code, room } }) => {
  const said = key ? t(key) : code ? `${room}: ${whyOut({ code, text })}` : text;
  showNotice(said, kind);
});
chat.addEventListener("rooms", () => {
  if (!chat.me?.id) return;
  if (!chat.rooms.has(active)) show(LOBBY);
  const open = [...chat.rooms.values()].filter((room) => room.status !== "out" && !room.isLobby && !room.isEmpty);
  kept.setRooms(chat.me, open, session.keeps);
});
// Signed out in another tab.
window.addEventListener("storage", ({ key }) => {
  if ((key === null || key === "parley.session") && chat.me && !session.present) exit(t("signed-out-elsewhere"));
});

document.addEventListener("keydown", (event) => {
  if (!event.altKey || !chat.me || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
  event.preventDefault();
  const ids = openRooms(chat).map(({ id }) => id);
  const step = event.key === "ArrowDown" ? 1 : -1;
  open(ids[(ids.indexOf(active) + step + ids.length) % ids.length]);
});

if (session.present) enter();
else signIn.show();
