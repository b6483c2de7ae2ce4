// The list of rooms: those that are open with their unread counts, the others
// there are, and a form for a new one.

import { byId, drawer, make, showItems } from "./dom.js";
import { showNotice } from "./notices.js";

const REFRESH_MS = 20_000;
const FILTER_MS = 250;

/**
 * @param {import("../chat.js").Chat} chat
 * @param {object} actions
 * @param {() => string} actions.active id of the room that is shown
 * @param {(roomId: string, name?: string) => void} actions.open
 */
export function roomsView(chat, { active, open }) {
  const filter = byId("room-filter");
  const more = byId("more-rooms");
  const note = byId("rooms-note");
  let others = []; // pages of get-rooms, one after the other
  let cursor = "";
  let paged = false; // the user asked for more than the first page
  let asked = 0;

  const draw = drawer(() => {
    const rooms = [...chat.rooms.values()];
    showItems(byId("joined-rooms"), rooms.map((room) => entry(room, { joined: true })));
    const rest = others.filter(({ id }) => !chat.rooms.has(id));
    showItems(byId("other-rooms"), rest.map((room) => entry(room, { joined: false })));
    more.hidden = !cursor;
    note.textContent = rest.length > 0 || cursor ? "" : filter.value ? "No other room begins like this." : "No other rooms.";
    total(rooms);
  });

  function entry({ id, name, unread = 0, memberCount = 0, status }, { joined }) {
    const current = joined && id === active();
    return {
      key: id,
      stamp: `${name}|${unread}|${joined ? status : memberCount}|${current}`,
      build: () =>
        make(
          "li",
          {},
          make(
            "button",
            {
              type: "button",
              class: `room-entry ${joined ? status : ""}`,
              data: { room: id },
              title: name === id ? undefined : id,
              "aria-current": current ? "true" : undefined,
              on: { click: () => open(id, name) },
            },
            make("span", { class: "name" }, name || id),
            joined && unread > 0 ? make("span", { class: "badge" }, String(unread), make("span", { class: "visually-hidden" }, " unread")) : "",
            joined ? "" : make("span", { class: "quiet" }, String(memberCount), make("span", { class: "visually-hidden" }, " members")),
          ),
        ),
    };
  }

  function total(rooms) {
    const unread = rooms.reduce((sum, room) => sum + room.unread, 0);
    byId("unread-total").hidden = unread === 0;
    byId("unread-total").textContent = String(unread);
  }

  async function load({ next = false } = {}) {
    if (!["online", "recovering"].includes(chat.state)) return;
    const mine = ++asked;
    try {
      const page = await chat.list({ prefix: filter.value.trim(), cursor: next ? cursor : undefined });
      if (mine !== asked) return; // asked anew meanwhile
      others = next ? [...others, ...page.rooms] : page.rooms;
      cursor = page.nextCursor ?? "";
      paged = next;
    } catch (error) {
      if (next) showNotice(error.message);
      // A refresh that fails leaves what is known; the next one comes soon.
    }
    draw();
  }

  let typed;
  filter.addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(load, FILTER_MS);
  });
  more.addEventListener("click", () => load({ next: true }));

  byId("create-room-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const input = byId("room-name");
    const name = input.value.trim();
    const roomId = roomIdFor(name);
    input.setCustomValidity(roomId ? "" : "A name needs at least one letter or digit without accents.");
    if (!input.reportValidity()) return;
    byId("create-room").disabled = true;
    try {
      const made = await chat.create({
        roomId,
        name: name === roomId ? undefined : name,
        visibility: byId("room-visibility").value,
        persistent: byId("room-persistent").checked,
      });
      if (!made) showNotice(`“${roomId}” was there already.`, "info");
      if (chat.rooms.has(roomId)) open(roomId);
      byId("create-room-form").reset();
      load();
    } catch (error) {
      showNotice(error.message);
    } finally {
      byId("create-room").disabled = false;
    }
  });
  byId("room-name").addEventListener("input", ({ target }) => target.setCustomValidity(""));

  chat.addEventListener("rooms", () => {
    // The title changes also while the page is hidden, when nothing is drawn.
    const unread = [...chat.rooms.values()].reduce((sum, room) => sum + room.unread, 0);
    document.title = unread > 0 ? `(${unread}) Parley` : "Parley";
    draw();
  });
  chat.addEventListener("state", () => {
    if (chat.state === "online") load();
  });
  setInterval(() => {
    if (!document.hidden && !paged) load();
  }, REFRESH_MS);

  return { draw };
}

/** A room id for a name as people write it: letters, digits, _ : and -. */
function roomIdFor(name) {
  return name
    .normalize("NFKD")
    .replace(/\s+/g, "-")
    .replace(/[^A-Za-z0-9_:-]/g, "")
    .replace(/^-+|-+$/g, "")
    .slice(0, 64);
}
