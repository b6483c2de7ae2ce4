// The state of the connection, as it is, and a way not to wait.

import { t } from "../words.js";
import { byId, setText } from "./dom.js";

/** @param {import("../chat.js").Chat} chat */
export function statusView(chat) {
  const status = byId("status");
  const countdown = byId("retry-in");
  const retry = byId("retry-now");
  let ticking;

  function draw() {
    const { state, retryAt, ended } = chat;
    status.dataset.state = state;
    setText(status, t(state));
    retry.hidden = retryAt === 0 && !ended;
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    // Outside of the status, or a screen reader would count aloud.
    setText(countdown, retryAt ? t("retry-in", { n: seconds }) : ended ? t(`ended-${ended}`) : "");
    clearTimeout(ticking);
    if (retryAt && !document.hidden) ticking = setTimeout(draw, 1000);
  }

  chat.addEventListener("state", draw);
  document.addEventListener("visibilitychange", draw);
  retry.addEventListener("click", () => chat.retryNow());
  return { draw };
}
