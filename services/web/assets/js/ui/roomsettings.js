// A room's settings: for its owner what it is called and who sees it, for
// moderators who is muted and banned.

import { moderates, roleIn } from "../rights.js";
import { language, t } from "../words.js";
import { button, byId, make, setText } from "./dom.js";
import { dialog } from "./dialog.js";
import { showError, showNotice } from "./notices.js";

/** Most of the muted and banned that are listed. */
const MAX_SANCTIONS = 200;

/**
 * @param {import("../chat.js").Chat} chat
 * @param {() => string} active id of the room that is shown
 */
export function roomSettingsView(chat, active) {
  const card = dialog("room-settings");
  const fields = { name: byId("settings-name"), topic: byId("settings-topic"), visibility: byId("settings-visibility"), persistent: byId("settings-persistent") };
  const remove = byId("delete-room");
  let roomId = "";

  async function open() {
    const room = chat.rooms.get(active());
    roomId = room.id;
    const owns = roleIn(room, chat.me) === "owner";
    fields.name.value = room.name;
    fields.topic.value = room.topic;
    fields.visibility.value = room.visibility || "public";
    fields.persistent.checked = room.persistent;
    for (const field of Object.values(fields)) field.disabled = !owns;
    byId("save-room").hidden = remove.hidden = !owns;
    setText(remove, t("delete-room"));
    byId("sanctions-section").hidden = !moderates(room, chat.me);
    card.open();
    if (moderates(room, chat.me)) await drawSanctions();
  }

  async function drawSanctions() {
    const found = [];
    try {
      for await (const user of chat.line(roomId).sanctions()) {
        found.push(user);
        if (found.length === MAX_SANCTIONS) break;
      }
    } catch (error) {
      showError(error);
    }
    byId("sanctions").replaceChildren(...found.flatMap((user) => ["mute", "ban"].filter((kind) => user[kind]).map((kind) => sanction(user, kind))));
    setText(byId("sanctions-note"), found.length === 0 ? t("none") : "");
  }

  function sanction(user, kind) {
    const { id, username } = user;
    const { until, reason } = user[kind];
    const said = [t(kind === "mute" ? "muted" : "banned"), until && t("until-time", { time: new Date(until).toLocaleString(language) }), reason].filter(Boolean);
    return make(
      "li",
      { data: { user: id } },
      make("span", { class: "name" }, username || chat.nameOf(id) || id),
      make("span", { class: "quiet" }, said.join(", ")),
      button(t(`un${kind}`), () => act(() => chat.line(roomId).moderate(`un${kind}`, id)).then(drawSanctions)),
    );
  }

  async function act(work) {
    if (!chat.ready) return showNotice(t("no-connection"), "error");
    try {
      await work();
      return true;
    } catch (error) {
      showError(error);
    }
    return false;
  }

  byId("open-room-settings").addEventListener("click", open);
  byId("room-settings-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { name, topic, visibility, persistent } = fields;
    const settings = { name: name.value.trim(), topic: topic.value.trim(), visibility: visibility.value, persistent: persistent.checked };
    if (await act(() => chat.line(roomId).update(settings))) card.close();
  });
  remove.addEventListener("click", async () => {
    // The second click means it.
    if (remove.textContent !== t("delete-really")) return setText(remove, t("delete-really"));
    if (await act(() => chat.line(roomId).remove())) card.close();
  });

  return { close: card.close };
}
