// Short notices over everything else: refused requests, the administrator's
// words. Errors stay until they have been there to be read.

import { byId, make } from "./dom.js";

const SHOWN_MS = { error: 10_000, info: 6000, admin: 60_000 };
const MOST = 4;

/** @param {"error" | "info" | "admin"} kind */
export function showNotice(text, kind = "error") {
  const list = byId("notices");
  const notice = make(
    "p",
    { class: kind },
    make("span", {}, text),
    make("button", { type: "button", "aria-label": "Dismiss", on: { click: () => notice.remove() } }, "✕"),
  );
  list.append(notice);
  while (list.children.length > MOST) list.firstChild.remove();
  setTimeout(() => notice.remove(), SHOWN_MS[kind]);
}
