// The sign-in view.

import { sayError, t } from "../words.js";
import { byId } from "./dom.js";

/**
 * @param {import("../session.js").Session} session
 * @param {() => void} signedIn
 */
export function signInView(session, signedIn) {
  const view = byId("sign-in-view");
  const form = byId("sign-in-form");
  const username = byId("username");
  const password = byId("password");
  const error = byId("sign-in-error");
  const buttons = [byId("sign-in"), byId("register")];

  async function enter(how) {
    error.textContent = "";
    if (!form.reportValidity()) return;
    for (const button of buttons) button.disabled = true;
    try {
      // NFC, as the server compares usernames.
      await session[how](username.value.trim().normalize("NFC"), password.value, { keep: byId("keep").checked });
      password.value = "";
      signedIn();
    } catch (problem) {
      const { retryAfterMs } = problem;
      error.textContent = sayError(problem) + (retryAfterMs ? ` ${t("try-again-in", { n: Math.ceil(retryAfterMs / 1000) })}` : "");
      password.focus();
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    enter("signIn");
  });
  byId("register").addEventListener("click", () => enter("register"));

  return {
    /** @param {string} [reason] why the user has to sign in (again) */
    show(reason = "") {
      view.hidden = false;
      error.textContent = reason;
      username.focus();
    },
    hide() {
      view.hidden = true;
    },
  };
}
