// Requests that wait for their replies.

import { ParleyError } from "./error.js";
import type { ServerFrame } from "./frame.js";

/** How long a reply may take. */
const REPLY_MS = 15_000;

/** Most requests that may wait. */
const MAX_PENDING = 500;

/** Frames of a room's log carry the id that their sender chose, so none of them is a reply. */
const LOG = ["chat-message", "room-message", "chat", "message-edited", "message-deleted"];

interface Waiting {
  resolve(frame: ServerFrame): void;
  reject(error: ParleyError): void;
  each: ((frame: ServerFrame) => boolean) | undefined;
  timer: ReturnType<typeof setTimeout>;
  start(): ReturnType<typeof setTimeout>;
}

export class Pending {
  #waiting = new Map<string, Waiting>();

  /**
   * A request that is about to be sent.
   * @param each called with each reply as it comes, before any later frame is
   *   looked at; true if more replies follow
   */
  add(id: string, timeoutMs = REPLY_MS, each?: (frame: ServerFrame) => boolean): Promise<ServerFrame> {
    if (this.#waiting.size >= MAX_PENDING) return Promise.reject(new ParleyError("rate-limited", "too many requests wait for a reply"));
    return new Promise((resolve, reject) => {
      const start = () =>
        setTimeout(() => {
          this.#waiting.delete(id);
          reject(new ParleyError("timeout", "the server did not answer in time"));
        }, timeoutMs);
      this.#waiting.set(id, { resolve, reject, each, start, timer: start() });
    });
  }

  /** Hands a reply to its request; false if the frame is none. */
  answer(frame: ServerFrame): boolean {
    const id = frame.id;
    const waiting = id === undefined || LOG.includes(frame.type) ? undefined : this.#waiting.get(id);
    if (!waiting) return false;
    clearTimeout(waiting.timer);
    if (frame.type === "error" || frame.type === "auth-failed") {
      const { code, message, retryAfterMs, field } = frame as Extract<ServerFrame, { type: "error" }>;
      waiting.reject(new ParleyError(code, message || code, retryAfterMs, field));
    } else if (waiting.each?.(frame)) {
      waiting.timer = waiting.start();
      return true;
    } else {
      waiting.resolve(frame);
    }
    this.#waiting.delete(id as string);
    return true;
  }

  /** The connection is gone. */
  fail(): void {
    const lost = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { timer, reject } of lost) {
      clearTimeout(timer);
      reject(new ParleyError("connection-lost", "the connection was lost"));
    }
  }
}
