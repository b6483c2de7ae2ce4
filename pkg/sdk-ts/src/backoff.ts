// What to do after a connection has ended, by its close code (PROTOCOL.md,
// "Errors and closing"), and how long to wait. Pure: no timers, no sockets.

/** Upper bounds of the wait, in milliseconds; the wait itself is drawn from [0, bound). */
const NORMAL = { base: 1000, cap: 30_000, floor: 0 };
const OVERLOADED = { base: 5000, cap: 60_000, floor: 2000 };

/** "At once, with jitter": enough to spread the clients of one gateway. */
const AT_ONCE_MS = 1000;

/** Where a connection stood when it ended. */
export interface Ended {
  /** Attempts since a connection last held. */
  attempt: number;
  signedIn: boolean;
  /** Whether a newer token was tried since then. */
  renewed: boolean;
  /** reconnectInMs of a going-away. */
  hintMs?: number | undefined;
  random: () => number;
}

/** Another attempt after some time, with a newer token where `renew`; or the end, and why. */
export type Next = { delayMs: number; renew: boolean } | { end: string; message: string };

/**
 * Full jitter: any time between nothing and an exponentially growing bound, so
 * that clients that were cut off together do not come back together.
 */
export function fullJitter(attempt: number, random: () => number, { base, cap, floor } = NORMAL): number {
  return Math.round(floor + random() * Math.min(cap, base * 2 ** Math.min(attempt, 30)));
}

export function afterClose(code: number, { attempt, signedIn, renewed, hintMs, random }: Ended): Next {
  const retry = (delayMs: number, renew = false): Next => ({ delayMs, renew });
  const end = (why: string, message: string): Next => ({ end: why, message });
  // A server that says "at once" again and again is not obeyed again and again.
  const atOnce = () => (attempt === 0 ? Math.round(random() * AT_ONCE_MS) : fullJitter(attempt, random));
  switch (code) {
    case 1000:
      return end("closed", "the server ended the session");
    case 1003:
    case 1007:
    case 1009:
      return end("defect", `something was sent that the server cannot accept (${code})`);
    case 1001:
      return retry(hintMs === undefined ? atOnce() : Math.round(hintMs + random() * AT_ONCE_MS));
    case 1008:
      // Before sign-in a newer token may be all it takes; after it, the server
      // has had enough of this client, and knocking again would make it worse.
      if (signedIn) return end("policy", "the server closed the connection because its rules were broken");
      if (renewed) return end("unauthenticated", "the token was not accepted");
      return retry(fullJitter(attempt, random), true);
    case 1013:
      return retry(fullJitter(attempt, random, OVERLOADED));
    case 4001:
      return end("revoked", "the sign-in was revoked");
    case 4003:
      return end("disabled", "the account is disabled");
  }
  if (code >= 4000 && code < 4100) return end("terminated", `the server ended the session (${code})`);
  if (code >= 4200 && code < 4300) return retry(atOnce(), code === 4203);
  return retry(fullJitter(attempt, random));
}
