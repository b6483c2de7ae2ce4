// The list of rooms: those that are open with their unread counts, direct ones
// apart, the others there are, and a form for a new one.

import { t } from "../words.js";
import { byId, drawer, every, make, setText, showItems } from "./dom.js";
import { showError, showNotice } from "./notices.js";

const REFRESH_MS = 20_000;
const FILTER_MS = 250;

/** How a room is called here. */
export function titleOf(room) {
  if (room.isLobby) return t("lobby");
  if (room.isDirect) return room.peer?.username ?? t("direct-unnamed");
  return room.name;
}

/** The user's rooms in the order in which they are shown: direct ones below the others. */
export function openRooms(chat) {
  return [...chat.rooms.values()].filter((room) => !room.isEmpty).sort((a, b) => a.isDirect - b.isDirect);
}

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
  let others = null; // Pages of the rooms there are
  let asked = 0;

  const draw = drawer(() => {
    const mine = openRooms(chat);
    const direct = mine.filter((room) => room.isDirect);
    showItems(byId("joined-rooms"), mine.filter((room) => !room.isDirect).map(joinedItem));
    showItems(byId("direct-rooms"), direct.map(joinedItem));
    byId("direct-section").hidden = direct.length === 0;
    const rest = (others?.items ?? []).filter(({ id }) => !chat.rooms.has(id) && !id.startsWith("dm:"));
    showItems(byId("other-rooms"), rest.map(otherItem));
    more.hidden = !others?.more;
    setText(note, rest.length > 0 || others?.more ? "" : t(filter.value ? "no-such-room" : "no-rooms"));
    const total = byId("unread-total");
    const unread = mine.reduce((sum, room) => sum + room.unread, 0);
    total.hidden = unread === 0;
    setText(total, String(unread));
  });

  function joinedItem(room) {
    const name = titleOf(room);
    const { id, unread, status } = room;
    const current = id === active();
    return item({
      id,
      name,
      stamp: `${name}|${unread}|${status}|${current}`,
      class: status === "out" ? "room-entry out" : "room-entry",
      current,
      side: unread > 0 ? [make("span", { class: "badge", "aria-hidden": "true" }, String(unread)), hiddenText(t("unread", { n: unread }))] : [],
    });
  }

  function otherItem({ id, name, memberCount }) {
    return item({
      id,
      name: name || id,
      stamp: `${name}|${memberCount}`,
      class: "room-entry",
      side: [make("span", { class: "quiet", "aria-hidden": "true" }, String(memberCount)), hiddenText(t("members", { n: memberCount }))],
    });
  }

  function item({ id, name, stamp, class: names, current = false, side }) {
    const title = id.startsWith("dm:") || name === id ? undefined : id;
    const properties = { type: "button", class: names, data: { room: id }, title, "aria-current": current ? "true" : undefined };
    const build = () => make("li", {}, make("button", { ...properties, on: { click: () => open(id, name) } }, make("span", { class: "name" }, name), ...side));
    return { key: id, stamp, build };
  }

  function hiddenText(text) {
    return make("span", { class: "visually-hidden" }, ` ${text}`);
  }

  async function load({ next = false } = {}) {
    if (!chat.ready) return;
    const mine = ++asked;
    try {
      const pages = await (next ? others.read(50) : chat.list(filter.value.trim()));
      if (mine !== asked) return; // asked anew meanwhile
      others = pages;
      if (!next) await chat.discover();
    } catch (error) {
      if (next) showError(error);
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
    input.setCustomValidity(roomId ? "" : t("name-needs"));
    if (!input.reportValidity()) return;
    byId("create-room").disabled = true;
    try {
      const made = await chat.create({
        roomId,
        name: name === roomId ? undefined : name,
        visibility: byId("room-visibility").value,
        persistent: byId("room-persistent").checked,
      });
      if (!made) showNotice(t("was-there", { room: roomId }));
      if (chat.rooms.has(roomId)) open(roomId);
      byId("create-room-form").reset();
      load();
    } catch (error) {
      showError(error);
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
  chat.addEventListener("invited", () => load());
  chat.addEventListener("state", () => {
    if (chat.state === "online") load();
  });
  every(REFRESH_MS, () => {
    if (!others || others.items.length <= 50) load(); // not while somebody reads on
  });

  return {
    draw,
    clear() {
      others = null;
      asked++;
    },
  };
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
