// What can be done with somebody: writing to them, inviting them, and what
// moderators do.

import { moderates, rightsOver } from "../rights.js";
import { language, t } from "../words.js";
import { button, byId, setText } from "./dom.js";
import { dialog } from "./dialog.js";
import { showError, showNotice } from "./notices.js";
import { titleOf } from "./rooms.js";

/**
 * @param {import("../chat.js").Chat} chat
 * @param {object} actions
 * @param {() => string} actions.active id of the room that is shown
 * @param {(roomId: string) => void} actions.openRoom
 * @param {() => void} actions.changed something of a member is another
 */
export function personView(chat, { active, openRoom, changed }) {
  const card = dialog("person");
  let user;

  async function open(of) {
    user = of;
    const room = chat.rooms.get(active());
    const mine = user.id === chat.me.id;
    setText(byId("person-name"), user.username);
    setText(byId("person-state"), stateOf(user));
    setText(byId("person-direct"), t("write-to", { user: user.username }));
    byId("person-direct").hidden = mine || room.peer?.id === user.id;
    setText(byId("person-invite"), t("invite-to", { room: titleOf(room) }));
    byId("person-invite").hidden = mine || room.visibility !== "private" || room.isDirect || room.members.has(user.id) || !moderates(room, chat.me);
    const { put, mute, roles } = rightsOver(room, chat.me, room.members.get(user.id) ?? user);
    byId("person-moderation").hidden = !mute;
    byId("person-kick").hidden = byId("person-ban").hidden = !put;
    byId("person-roles").replaceChildren(...roles.map((role) => button(t(`make-${role}`), () => act(() => chat.line(room.id).setRole(user.id, role)))));
    byId("person-reason").value = "";
    card.open();
    // When they were here last, of those who are not.
    const asked = user;
    const presence = await chat.presenceOf(user.id).catch(() => undefined);
    if (presence && !presence.online && presence.lastSeen && user === asked) {
      setText(byId("person-state"), t("last-seen", { time: new Date(presence.lastSeen).toLocaleString(language) }));
    }
  }

  function stateOf({ id, role }) {
    const { status = "online", text = "" } = chat.statuses.get(id) ?? {};
    return [role && role !== "member" ? t(role) : "", t(`status-${status}`), text].filter(Boolean).join(", ");
  }

  /** Does something that the server has to agree to. */
  async function act(work, said = t("done")) {
    if (!chat.ready) return showNotice(t("no-connection"), "error");
    try {
      await work();
      card.close();
      showNotice(said);
      changed();
    } catch (error) {
      showError(error);
    }
  }

  function moderate(action) {
    const minutes = Number(byId("person-duration").value);
    const limited = minutes > 0 && action !== "kick";
    return act(() =>
      chat.line(active()).moderate(action, user.id, {
        reason: byId("person-reason").value.trim() || undefined,
        until: limited ? new Date(Date.now() + minutes * 60_000) : undefined,
      }),
    );
  }

  byId("person-direct").addEventListener("click", async () => {
    if (!chat.ready) return showNotice(t("no-connection"), "error");
    try {
      const roomId = await chat.direct(user);
      card.close();
      openRoom(roomId);
    } catch (error) {
      showError(error);
    }
  });
  byId("person-invite").addEventListener("click", () => act(() => chat.line(active()).invite(user.id), t("invited", { user: user.username })));
  for (const action of ["mute", "kick", "ban"]) byId(`person-${action}`).addEventListener("click", () => moderate(action));

  return { open, close: card.close };
}
