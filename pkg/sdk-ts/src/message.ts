// What the application gets of a room's log.

import type { Entry, User } from "./frame.js";

interface Told {
  roomId: string;
  /** The place in the room's log. */
  seq: number;
  /** Who sent it. Live messages of the lobby tell the username only; the id is empty there. */
  user: User;
  timestamp: Date;
  /** Whether it came as it was sent, and not out of the log. */
  live: boolean;
}

export interface Message extends Told {
  type: "message";
  /** What the sender called it; missing where that gave none. */
  id?: string;
  content?: string;
  data?: unknown;
}

/** New content of an earlier message. */
export interface Edited extends Told {
  type: "edited";
  /** The seq of the message. */
  target: number;
  content?: string;
}

/** An earlier message is gone from the log. */
export interface Deleted extends Told {
  type: "deleted";
  /** The seq of the message. */
  target: number;
}

export interface LogEvents {
  message: Message;
  edited: Edited;
  deleted: Deleted;
}

/** What a log holds, told apart by `type`. */
export type Logged = LogEvents[keyof LogEvents];

/** Reads an entry of a log; undefined for kinds that later versions may bring. */
export function read(roomId: string, entry: Entry, live: boolean): Logged | undefined {
  const { seq } = entry;
  const told = (user: User): Told => ({ roomId, seq, user, timestamp: new Date(entry.timestamp), live });
  switch (entry.type) {
    case "chat-message":
    case "room-message": {
      const { id, user, content, data } = entry;
      const more = { ...(id !== undefined && { id }), ...(content !== undefined && { content }), ...(data !== undefined && { data }) };
      return { type: "message", ...told(user), ...more };
    }
    case "chat": {
      const { id, user, message } = entry;
      return { type: "message", ...told({ id: "", username: user }), ...(id !== undefined && { id }), content: message };
    }
    case "message-edited": {
      const { user, target, content } = entry;
      return { type: "edited", ...told(user), target, ...(content !== undefined && { content }) };
    }
    case "message-deleted":
      return { type: "deleted", ...told(entry.user), target: entry.target };
  }
  return undefined;
}
