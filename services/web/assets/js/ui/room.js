// The head of the room that is shown: its name, its topic, its state, leaving it.

import { sayError, t } from "../words.js";
import { byId, drawer, setText } from "./dom.js";
import { showError } from "./notices.js";
import { titleOf } from "./rooms.js";

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
    setText(byId("room-title"), titleOf(room));
    setText(byId("room-topic"), room.topic);
    setText(byId("room-info"), info(room));
    byId("leave-room").hidden = room.isLobby;
    byId("open-room-settings").hidden = room.isLobby || room.isDirect || room.status === "out";
    byId("rejoin-room").hidden = room.status !== "out";
  });

  function info(room) {
    if (room.status === "out") return whyOut(room.reason);
    if (chat.ready && room.status === "joining") return t("joining");
    return room.isLobby || room.isDirect ? "" : t("members", { n: room.memberCount });
  }

  byId("leave-room").addEventListener("click", () => leave(active()));
  byId("rejoin-room").addEventListener("click", () => chat.join(active()).catch(showError));
  for (const event of ["rooms", "room", "people", "state"]) chat.addEventListener(event, draw);

  return { draw };
}

/** Why the session is not in a room any more. */
export function whyOut({ code, text }) {
  if (code === "kicked" && text) return t("kicked-why", { reason: text });
  return code === "kicked" || code === "room-deleted" ? t(code) : sayError({ code, message: text });
}
