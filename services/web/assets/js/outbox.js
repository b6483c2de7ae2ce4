// Messages on their way out. Each keeps its id from the first try to the ack,
// so that sending it again is harmless while the server remembers ids
// (PROTOCOL.md, "Delivery" 4). One message per room is under way at a time,
// which keeps a room's messages in the order they were written.

import { ConnectionLost, newId } from "./connection.js";

/** Messages waiting per room; then writing has to wait. */
export const MAX_WAITING = 50;

/** Within this after the first try, a second one with the same id is surely recognised (the window is 2 minutes). */
const IDEMPOTENT_MS = 100_000;

/** Wait between tries where the server names none. */
const RETRY_MS = 2000;

export class Outbox {
  #entries = new Map(); // room id → entries, oldest first
  #busy = new Set(); // rooms with a message under way
  #send;
  #gate;
  #changed;
  #now;
  #wait;

  /**
   * @param {object} options
   * @param {(entry: object) => Promise<object>} options.send to the ack, or an error
   * @param {(entry: object, stale: boolean) => "go" | "wait" | "unknown"} options.gate
   *   whether to send an entry now. A stale one was tried before, too long ago to
   *   be sent again blindly: "go" then means that the log surely lacks it, "wait"
   *   that it cannot be told yet, "unknown" that it never can
   * @param {(roomId: string) => void} options.changed
   */
  constructor({ send, gate, changed, now = Date.now, wait = (ms) => new Promise((done) => setTimeout(done, ms)) }) {
    this.#send = send;
    this.#gate = gate;
    this.#changed = changed;
    this.#now = now;
    this.#wait = wait;
  }

  /** Entries of a room: {id, roomId, content, time, state: "waiting" | "sending" | "failed", reason}. */
  of(roomId) {
    return this.#entries.get(roomId) ?? [];
  }

  isFull(roomId) {
    return this.of(roomId).length >= MAX_WAITING;
  }

  add(roomId, content) {
    const entry = {
      id: newId(),
      roomId,
      content,
      time: new Date(this.#now()).toISOString(),
      state: "waiting",
      reason: "",
      triedAt: 0,
    };
    this.#entries.set(roomId, [...this.of(roomId), entry]);
    this.#changed(roomId);
    this.flush(roomId);
    return entry;
  }

  /** Sends what waits in a room that is ready for it. */
  async flush(roomId) {
    if (this.#busy.has(roomId)) return;
    this.#busy.add(roomId);
    try {
      for (let entry; (entry = this.of(roomId).find(({ state }) => state === "waiting")); ) {
        if (!(await this.#try(entry))) break;
      }
    } finally {
      this.#busy.delete(roomId);
    }
  }

  /** The log has this message: it is not under way any more. True if it was. */
  settled(roomId, id) {
    const left = this.of(roomId).filter((entry) => entry.id !== id);
    if (left.length === this.of(roomId).length) return false;
    if (left.length > 0) this.#entries.set(roomId, left);
    else this.#entries.delete(roomId);
    this.#changed(roomId);
    return true;
  }

  /** The user wants a failed message sent again; it may end up stored twice if nobody knows whether it was. */
  retry(roomId, id) {
    const entry = this.of(roomId).find((candidate) => candidate.id === id);
    if (entry?.state !== "failed") return;
    entry.triedAt = 0;
    this.#set(entry, "waiting");
    this.flush(roomId);
  }

  discard(roomId, id) {
    this.settled(roomId, id);
  }

  /** A room is gone for this session: what waits there will not be sent. */
  fail(roomId, reason) {
    for (const entry of this.of(roomId)) if (entry.state !== "failed") this.#set(entry, "failed", reason);
  }

  clear() {
    this.#entries.clear();
  }

  /** Tries one entry; true if the next one may follow. */
  async #try(entry) {
    const stale = entry.triedAt > 0 && this.#now() - entry.triedAt > IDEMPOTENT_MS;
    switch (this.#gate(entry, stale)) {
      case "wait":
        return false;
      case "unknown":
        this.#set(entry, "failed", "It is not known whether this was sent.");
        return true;
    }
    if (stale) entry.triedAt = 0;
    this.#set(entry, "sending");
    const before = entry.triedAt;
    entry.triedAt ||= this.#now();
    try {
      await this.#send(entry);
      this.settled(entry.roomId, entry.id);
      return true;
    } catch (error) {
      if (!this.of(entry.roomId).includes(entry)) return true; // seen in the log meanwhile, or discarded
      if (entry.state === "failed") return true; // by fail()
      if (error instanceof ConnectionLost) {
        if (!error.sent) entry.triedAt = before;
        this.#set(entry, "waiting");
        return false;
      }
      if (error.code === "rate-limited") entry.triedAt = before; // had no effect
      if (error.temporary) {
        this.#set(entry, "waiting", error.message);
        await this.#wait(error.retryAfterMs ?? RETRY_MS);
        return true;
      }
      this.#set(entry, "failed", error.message);
      return true;
    }
  }

  #set(entry, state, reason = "") {
    entry.state = state;
    entry.reason = reason;
    this.#changed(entry.roomId);
  }
}
