// The sign-in view.

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
      error.textContent = sentence(problem.message);
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

/** The server's words begin small and end without a full stop, as a log has them. */
function sentence(text) {
  const end = /[.!?]$/.test(text) ? "" : ".";
  return text.charAt(0).toUpperCase() + text.slice(1) + end;
}
