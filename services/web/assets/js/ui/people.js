// Who is in the room that is shown, and who is online at all.

import { byId, drawer, make, showItems } from "./dom.js";
import { showNotice } from "./notices.js";

const REFRESH_MS = 15_000;

/** After somebody came or went, the list is read anew within this, not at once
 *  by all members, and once for all who come meanwhile. */
const SOON_MS = 2000;

/**
 * @param {import("../chat.js").Chat} chat
 * @param {() => string} active id of the room that is shown
 */
export function peopleView(chat, active) {
  let online = [];
  let cursor = "";
  let paged = false;

  const draw = drawer(() => {
    const room = chat.rooms.get(active());
    const members = room && !room.isLobby ? [...room.members.values()].sort(byName) : [];
    showItems(byId("member-list"), members.map(person));
    byId("more-members").hidden = !room?.membersCursor || members.length === 0;
    byId("members-note").textContent = membersNote(room, members.length);
    showItems(byId("online-list"), [...online].sort(byName).map(person));
    byId("more-online").hidden = !cursor;
    byId("online-note").textContent = online.length === 0 ? "Nobody to be seen at the moment." : "";
  });

  function membersNote(room, shown) {
    if (!room || room.isLobby) return "Everybody is in the lobby.";
    if (room.status === "out") return "You are not in this room.";
    return room.memberCount > shown ? `${shown} of ${room.memberCount} shown.` : "";
  }

  function person({ id, username, role }) {
    const { status = "", text = "" } = chat.statuses.get(id) ?? {};
    const notes = [id === chat.me?.id ? "you" : "", role && role !== "member" ? role : "", status, text].filter(Boolean);
    return {
      key: id,
      stamp: `${username}|${notes.join()}`,
      build: () => make("li", { data: { user: id } }, make("span", { class: "name" }, username), make("span", { class: "quiet" }, notes.join(", "))),
    };
  }

  async function load({ next = false } = {}) {
    if (!["online", "recovering"].includes(chat.state)) return;
    try {
      const page = await chat.online({ cursor: next ? cursor : undefined });
      const known = next ? online : [];
      const ids = new Set(known.map(({ id }) => id));
      online = [...known, ...page.users.filter(({ id }) => !ids.has(id))];
      cursor = page.nextCursor ?? "";
      paged = next;
    } catch (error) {
      if (next) showNotice(error.message);
    }
    draw();
  }

  byId("more-online").addEventListener("click", () => load({ next: true }));
  byId("more-members").addEventListener("click", () => {
    chat.loadMembers(active(), { more: true }).catch((error) => showNotice(error.message));
  });
  let soon;
  chat.addEventListener("people", ({ detail }) => {
    draw();
    if (!detail.roster || soon || document.hidden || paged) return;
    soon = setTimeout(() => {
      soon = undefined;
      load();
    }, (0.25 + 0.75 * Math.random()) * SOON_MS);
  });
  chat.addEventListener("state", () => {
    if (chat.state === "online") load();
    else draw();
  });
  setInterval(() => {
    if (document.hidden || paged) return;
    load();
    // Large rooms send counts in place of names.
    const room = chat.rooms.get(active());
    if (room && room.memberCount !== room.members.size && room.members.size <= 100) chat.loadMembers(room.id).catch(() => {});
  }, REFRESH_MS);

  return {
    draw,
    clear() {
      online = [];
      cursor = "";
    },
  };
}

function byName(a, b) {
  return a.username.localeCompare(b.username);
}
