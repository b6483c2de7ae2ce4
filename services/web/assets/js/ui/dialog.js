// Dialogs: the browser keeps focus inside of one and gives it back.

import { byId } from "./dom.js";

/**
 * Makes a dialog of index.html one that its button and a click beside it close.
 * @param {string} id of the dialog; its close button is `close-<id>`
 */
export function dialog(id) {
  const element = byId(id);
  byId(`close-${id}`).addEventListener("click", () => element.close());
  element.addEventListener("click", ({ target }) => {
    if (target === element) element.close();
  });
  element.addEventListener("close", () => document.body.append(byId("notices")));
  return {
    open() {
      if (!element.open) element.showModal();
    },
    close: () => element.close(),
  };
}
