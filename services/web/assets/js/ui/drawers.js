// On narrow screens the rooms and the people are drawers over the chat; on wide
// ones they are columns, and nothing of this shows.

import { byId } from "./dom.js";

const DRAWERS = [
  ["toggle-rooms", "rooms-panel"],
  ["toggle-people", "people-panel"],
];

export function drawersView() {
  function set(open) {
    for (const [button, panel] of DRAWERS) {
      byId(button).setAttribute("aria-expanded", String(panel === open));
      byId(panel).classList.toggle("open", panel === open);
    }
  }
  for (const [button, panel] of DRAWERS) {
    byId(button).addEventListener("click", () => {
      const opening = !byId(panel).classList.contains("open");
      set(opening ? panel : null);
      if (opening) byId(panel).querySelector("button:not([hidden]), input")?.focus();
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const open = DRAWERS.find(([, panel]) => byId(panel).classList.contains("open"));
    if (!open) return;
    set(null);
    byId(open[0]).focus();
  });
  return { close: () => set(null) };
}
