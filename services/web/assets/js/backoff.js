// What to do after a connection has ended, by its close code (PROTOCOL.md,
// "Errors and closing"), and how long to wait. Pure: no timers, no sockets.

/** Upper bounds of the wait, in milliseconds; the wait itself is drawn from [0, bound). */
const NORMAL = { base: 1000, cap: 30_000 };
const OVERLOADED = { base: 5000, cap: 60_000, floor: 2000 };

/** "At once, with jitter": enough to spread the clients of one gateway. */
const AT_ONCE_MS = 1000;

/**
 * Full jitter: any time between nothing and an exponentially growing bound, so
 * that clients that were cut off together do not come back together.
 * @param {number} attempt failed attempts so far, from 0
 * @param {() => number} random in [0, 1)
 */
export function fullJitter(attempt, random = Math.random, { base, cap, floor = 0 } = NORMAL) {
  const bound = Math.min(cap, base * 2 ** Math.min(attempt, 30));
  return Math.round(floor + random() * bound);
}

/**
 * The next step after a close.
 * @param {number} code close code; 1006 for a connection that just broke
 * @param {object} at
 * @param {number} at.attempt attempts since the connection last held
 * @param {boolean} at.signedIn whether auth-success had come
 * @param {boolean} at.renewed whether a new token was already tried since then
 * @param {number} [at.hintMs] reconnectInMs of the last going-away
 * @param {() => number} [at.random]
 * @returns {{action: "retry", delayMs: number, renew: boolean}
 *   | {action: "stop" | "sign-in", reason: string}}
 */
export function afterClose(code, { attempt, signedIn, renewed, hintMs, random = Math.random }) {
  const retry = (delayMs, renew = false) => ({ action: "retry", delayMs, renew });
  switch (code) {
    case 1000:
      return { action: "stop", reason: "The connection was ended." };
    case 1003:
    case 1007:
    case 1009:
      return { action: "stop", reason: `This page sent something the server cannot accept (${code}).` };
    case 1001:
      return retry(hintMs !== undefined ? Math.round(hintMs + random() * AT_ONCE_MS) : atOnce(attempt, random));
    case 1008:
      // Before sign-in a new token may be all it takes; after it, the server
      // has had enough of this client and knocking again would make it worse.
      if (signedIn) return { action: "stop", reason: "The server closed the connection because its rules were broken." };
      if (renewed) return { action: "sign-in", reason: "The sign-in was not accepted. Please sign in again." };
      return retry(fullJitter(attempt, random), true);
    case 1013:
      return retry(fullJitter(attempt, random, OVERLOADED));
    case 4001:
      return { action: "sign-in", reason: "This session was ended. Please sign in again." };
    case 4003:
      return { action: "sign-in", reason: "This account is disabled." };
  }
  if (code >= 4000 && code < 4100) {
    return { action: "sign-in", reason: `The server ended this session (${code}).` };
  }
  if (code >= 4200 && code < 4300) return retry(atOnce(attempt, random), code === 4203);
  return retry(fullJitter(attempt, random));
}

// A server that says "at once" again and again is not obeyed again and again.
function atOnce(attempt, random) {
  return attempt === 0 ? Math.round(random() * AT_ONCE_MS) : fullJitter(attempt, random);
}
