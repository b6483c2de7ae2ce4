// How a room gets to where nothing is missing: joining from where it stood,
// and reading the log where that was not enough. The end of the connection
// (an AbortSignal) ends all of it.

import { ConnectionLost } from "./connection.js";

/** Messages asked for at once: when entering a room, and when catching up. */
export const PAGE = 50;
const CATCH_UP_PAGE = 200;

/** After this many pages of catching up, the newest messages take the place of the rest. */
const MAX_PAGES = 5;

/** How often to look again for a message that the log should hold and does not show yet. */
const MAX_LOOKS = 10;
const LOOK_AGAIN_MS = 500;

/** Wait between tries of what is refused for a while, where the server names none. */
const RETRY_MS = 2000;
const MAX_RETRY_MS = 30_000;

/**
 * @callback TakePage puts messages into the room
 * @param {object[]} frames
 * @param {object} how
 * @param {boolean} how.missed whether they came while we were away, so that they count as unread
 * @param {boolean} [how.mayHaveOlder] whether the log may hold more before them
 */

/**
 * Joins a room, from its place if it has one. Afterwards the room is joined,
 * and `behind` tells whether it still lacks something.
 * @param {import("./connection.js").Connection} connection
 * @param {import("./rooms.js").Room} room
 * @param {AbortSignal} signal
 * @param {TakePage} take
 */
export function join(connection, room, signal, take) {
  return patiently(signal, async () => {
    const fields = { roomId: room.id, history: PAGE, ...room.place };
    let goesOn = false;
    let inside = false;
    const each = (frame) => {
      if (frame.type === "room-joined") {
        inside = true;
        goesOn = room.joined(frame);
        return true;
      }
      const mayHaveOlder = frame.hasMore || frame.messages.length >= PAGE;
      take(frame.messages, { missed: goesOn, mayHaveOlder });
      return goesOn && frame.hasMore;
    };
    try {
      await connection.request("join-room", fields, { each });
      room.settle();
    } catch (error) {
      // In the room, but the log could not be read: catching up does the rest.
      if (!inside || !error.temporary) throw error;
    }
  });
}

/**
 * Finds out whether the lobby's log is still the one we know. There is nothing
 * to join, the session is in it already; but nobody says what was missed.
 */
export async function enterLobby(connection, room, signal) {
  const info = await patiently(signal, () =>
    connection.request("get-room-info", { roomId: room.id }).catch(unlessMissing({})),
  );
  if (room.epoch && info.epoch && room.epoch !== info.epoch) room.reset("renewed");
  room.epoch = info.epoch ?? room.epoch;
  if (info.memberCount > 0) room.memberCount = info.memberCount;
}

/**
 * Reads what lies between a room's position and now, until no hole is left.
 * @param {import("./connection.js").Connection} connection
 * @param {import("./rooms.js").Room} room
 * @param {AbortSignal} signal
 * @param {TakePage} take
 */
export async function catchUp(connection, room, signal, take) {
  const read = (fields) =>
    patiently(signal, () =>
      connection
        .request("get-history", { roomId: room.id, ...fields })
        .catch(unlessMissing({ messages: [], hasMore: false })),
    );
  let pages = 0;
  let looks = 0;
  while (room.behind) {
    const newest = room.position === null;
    const page = await read(newest ? { limit: PAGE } : { after: room.position, limit: CATCH_UP_PAGE });
    take(page.messages, { missed: !newest, mayHaveOlder: page.hasMore });
    if (!newest && page.hasMore) {
      if (++pages === MAX_PAGES) room.reset("skipped");
      continue;
    }
    if (room.settle()) return;
    // The live messages speak of one that a lagging replica does not show yet.
    if (++looks === MAX_LOOKS) {
      room.settle({ force: true });
      return;
    }
    await pause(LOOK_AGAIN_MS, signal);
  }
}

/** Runs a request until it is no longer refused for a while only. */
async function patiently(signal, request) {
  for (let tries = 0; ; tries++) {
    try {
      return await request();
    } catch (error) {
      if (signal.aborted || !error.temporary) throw error;
      await pause(error.retryAfterMs ?? Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** tries), signal);
    }
  }
}

/** A room without a record has an empty log. */
function unlessMissing(instead) {
  return (error) => {
    if (error.code === "not-found") return instead;
    throw error;
  };
}

/** Waits, or throws if the connection ends first. */
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(new ConnectionLost(false));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", end);
      resolve();
    }, ms);
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
  });
}
