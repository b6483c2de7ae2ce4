// Short notices over everything else: refused requests, the administrator's
// words. Errors stay until they have been there to be read.

import { sayError, t } from "../words.js";
import { button, byId, make } from "./dom.js";

const SHOWN_MS = { error: 10_000, info: 6000, admin: 60_000 };
const MOST = 4;

/** @param {"error" | "info" | "admin"} kind */
export function showNotice(text, kind = "info") {
  const list = byId("notices");
  // What is outside of a dialog cannot be reached, nor heard, while it is open.
  const place = document.querySelector("dialog[open]") ?? document.body;
  if (list.parentElement !== place) place.append(list);
  const dismiss = button("✕", () => notice.remove(), { "aria-label": t("dismiss") });
  const notice = make("p", { class: kind }, make("span", {}, text), dismiss);
  list.append(notice);
  while (list.children.length > MOST) list.firstChild.remove();
  setTimeout(() => notice.remove(), SHOWN_MS[kind]);
}

/** Says why something that the user asked for did not happen. */
export function showError(error) {
  showNotice(error.code === "too-many-rooms" ? t(error.code) : sayError(error), "error");
}
