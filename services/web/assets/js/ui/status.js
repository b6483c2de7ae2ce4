// The state of the connection, as it is, and a way not to wait.

import { byId } from "./dom.js";

const TEXTS = { online: "Online", connecting: "Connecting…", recovering: "Catching up…", offline: "Offline" };

/** @param {import("../chat.js").Chat} chat */
export function statusView(chat) {
  const status = byId("status");
  const countdown = byId("retry-in");
  const retry = byId("retry-now");
  let ticking;

  function draw() {
    const { state, retryAt, ended } = chat;
    if (status.dataset.state !== state) {
      status.dataset.state = state;
      status.textContent = TEXTS[state];
    }
    retry.hidden = retryAt === 0 && !ended;
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    // Outside of the status, or a screen reader would count aloud.
    countdown.textContent = retryAt ? `Trying again in ${seconds} s` : ended;
    clearTimeout(ticking);
    if (retryAt) ticking = setTimeout(draw, 1000);
  }

  chat.addEventListener("state", draw);
  retry.addEventListener("click", () => chat.retryNow());
  return { draw };
}
