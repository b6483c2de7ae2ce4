// Who is in the room that is shown, and who is online at all. A click on
// somebody tells more of them.

import { t } from "../words.js";
import { byId, drawer, every, make, setText, showItems } from "./dom.js";
import { showError } from "./notices.js";

const REFRESH_MS = 15_000;

/** After somebody came or went, the list is read anew within this, not at once
 *  by all members, and once for all who come meanwhile. */
const SOON_MS = 2000;

/**
 * @param {import("../chat.js").Chat} chat
 * @param {object} actions
 * @param {() => string} actions.active id of the room that is shown
 * @param {(user: object) => void} actions.open tells more of somebody
 */
export function peopleView(chat, { active, open }) {
  let online = null; // Pages of who is online
  let members = null; // Pages of the room that is shown
  let membersOf = "";

  const draw = drawer(() => {
    const room = chat.rooms.get(active());
    const inRoom = room && !room.isLobby ? [...room.members.values()].sort(byName) : [];
    showItems(byId("member-list"), inRoom.map(person));
    byId("more-members").hidden = !room?.moreMembers || inRoom.length === 0;
    setText(byId("members-note"), membersNote(room, inRoom.length));
    const people = [...(online?.items ?? [])].sort(byName);
    showItems(byId("online-list"), people.map(person));
    byId("more-online").hidden = !online?.more;
    setText(byId("online-note"), people.length === 0 ? t("nobody") : "");
  });

  function membersNote(room, shown) {
    if (!room || room.isLobby) return t("all-in-lobby");
    if (room.status === "out") return t("not-in-room");
    return room.memberCount > shown ? t("shown-of", { n: shown, all: room.memberCount }) : "";
  }

  function person(user) {
    const { id, username, role } = user;
    const { status = "online", text = "" } = chat.statuses.get(id) ?? {};
    const notes = [id === chat.me?.id ? t("you") : "", role && role !== "member" ? t(role) : "", status === "online" ? "" : t(status), text].filter(Boolean);
    return {
      key: id,
      stamp: `${username}|${status}|${notes.join()}`,
      build: () =>
        make(
          "li",
          { data: { user: id, status } },
          make(
            "button",
            { type: "button", class: "person", on: { click: () => open(user) } },
            make("span", { class: "dot", "aria-hidden": "true" }),
            make("span", { class: "name" }, username),
            make("span", { class: "quiet" }, notes.join(", ")),
          ),
        ),
    };
  }

  async function load({ next = false } = {}) {
    if (!chat.ready) return;
    try {
      online = next ? chat.seen(await online.read(50)) : await chat.online();
    } catch (error) {
      if (next) showError(error);
    }
    draw();
  }

  async function loadMembers({ next = false } = {}) {
    const roomId = active();
    try {
      const read = await chat.loadMembers(roomId, next && membersOf === roomId ? members : undefined);
      if (read) [members, membersOf] = [read, roomId];
    } catch (error) {
      if (next) showError(error);
    }
  }

  const readsOn = () => online?.items.length > 50;
  byId("more-online").addEventListener("click", () => load({ next: true }));
  byId("more-members").addEventListener("click", () => loadMembers({ next: true }));
  let soon;
  chat.addEventListener("people", ({ detail }) => {
    draw();
    if (!detail.roster || soon || document.hidden || readsOn()) return;
    soon = setTimeout(() => {
      soon = undefined;
      load();
    }, (0.25 + 0.75 * Math.random()) * SOON_MS);
  });
  chat.addEventListener("state", () => {
    if (chat.state === "online") load();
    else draw();
  });
  every(REFRESH_MS, () => {
    if (!readsOn()) load();
    // Roles change, and large rooms send counts in place of names.
    if ((chat.rooms.get(active())?.members.size ?? 0) <= 50) loadMembers();
  });

  return {
    draw,
    loadMembers,
    clear() {
      online = null;
    },
  };
}

function byName(a, b) {
  return a.username.localeCompare(b.username);
}
