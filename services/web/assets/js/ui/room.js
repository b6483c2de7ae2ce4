// The head of the room that is shown: its name, its state, leaving it.

import { byId, drawer } from "./dom.js";
import { showNotice } from "./notices.js";

/**
 * @param {import("../chat.js").Chat} chat
 * @param {object} actions
 * @param {() => string} actions.active id of the room that is shown
 * @param {(roomId: string) => void} actions.leave
 */
export function roomView(chat, { active, leave }) {
  const draw = drawer(() => {
    const room = chat.rooms.get(active());
    if (!room) return;
    byId("room-title").textContent = room.name;
    byId("room-info").textContent = info(room);
    byId("leave-room").hidden = room.isLobby;
    byId("rejoin-room").hidden = room.status !== "out";
  });

  function info(room) {
    if (room.status === "out") return room.reason || "You are not in this room.";
    if (chat.state === "online" || chat.state === "recovering") {
      if (room.status === "joining") return "Joining…";
      if (room.behind) return "Catching up…";
    }
    if (room.isLobby) return "";
    return room.memberCount === 1 ? "1 member" : `${room.memberCount} members`;
  }

  byId("leave-room").addEventListener("click", () => leave(active()));
  byId("rejoin-room").addEventListener("click", () => {
    chat.join(active()).catch((error) => showNotice(error.message));
  });
  for (const event of ["rooms", "room", "people", "state"]) chat.addEventListener(event, draw);

  return { draw };
}
