// The user's own settings: status, language, colours, the devices where they
// are signed in.

import { language, languages, t } from "../words.js";
import { button, byId, make } from "./dom.js";
import { dialog } from "./dialog.js";
import { showError, showNotice } from "./notices.js";

/**
 * @param {import("../chat.js").Chat} chat
 * @param {object} actions
 * @param {import("../session.js").Session} actions.session
 * @param {import("../kept.js").Kept} actions.kept
 */
export function settingsView(chat, { session, kept }) {
  const card = dialog("settings");
  const status = byId("my-status");
  const text = byId("my-status-text");
  const theme = byId("theme");

  function showTheme() {
    theme.value = kept.setting("theme") ?? "auto";
    document.documentElement.dataset.theme = theme.value;
  }

  for (const select of [byId("language"), byId("sign-in-language")]) {
    select.append(...Object.entries(languages).map(([tag, name]) => make("option", { value: tag, lang: tag }, name)));
    select.value = language;
    select.addEventListener("change", () => {
      kept.set("language", select.value);
      // Everything is drawn anew; who is signed in, and what waits to be sent, is kept.
      location.reload();
    });
  }
  theme.addEventListener("change", () => {
    kept.set("theme", theme.value);
    showTheme();
  });

  async function tellStatus() {
    if (!chat.me) return;
    try {
      await chat.setStatus(status.value, text.value.trim() || undefined);
    } catch (error) {
      showError(error);
    }
  }
  status.addEventListener("change", tellStatus);
  text.addEventListener("change", tellStatus);

  async function drawDevices() {
    let devices = [];
    try {
      devices = await session.devices();
    } catch (error) {
      showError(error);
    }
    byId("devices").replaceChildren(...devices.map(device));
  }

  function device({ id, userAgent, address, usedAt, current }) {
    const said = [browserOf(userAgent), address, current ? t("this-device") : t("last-used", { time: new Date(usedAt).toLocaleString(language) })];
    return make(
      "li",
      { data: { session: id } },
      make("span", { title: userAgent }, said.filter(Boolean).join(", ")),
      current ? "" : button(t("end-session"), () => end(id)),
    );
  }

  async function end(id) {
    try {
      await session.end(id);
      if (id === "all") return; // the connection is told
      showNotice(t("done"));
      await drawDevices();
    } catch (error) {
      showError(error);
    }
  }

  byId("end-others").addEventListener("click", () => end("all"));
  byId("open-settings").addEventListener("click", () => {
    card.open();
    drawDevices();
  });
  showTheme();

  return {
    close: card.close,
    clear() {
      status.value = "online";
      text.value = "";
    },
  };
}

/** What people call the program of a User-Agent, and its system. */
function browserOf(userAgent = "") {
  const name = /(Firefox|Edg|OPR|Chrome|Safari)\//.exec(userAgent)?.[1] ?? userAgent.split(/[\s/]/)[0];
  const system = /Android|iPhone|iPad|Windows|Mac OS X|Linux/.exec(userAgent)?.[0];
  return [{ Edg: "Edge", OPR: "Opera" }[name] ?? name, system].filter(Boolean).join(" · ");
}
