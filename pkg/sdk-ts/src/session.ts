// What a room needs of the client that it belongs to.

import type { ParleyError } from "./error.js";
import type { Requests, ServerFrame, User } from "./frame.js";
import type { Outbox } from "./outbox.js";

export interface JoinFields {
  after: number | undefined;
  epoch: string | undefined;
  history: number | undefined;
}

export interface Session {
  /** Whether there is a connection that is signed in. */
  readonly ready: boolean;
  readonly outbox: Outbox;
  /** Begins to connect, if that was not begun. */
  connect(): void;
  /** Asks as soon as there is a connection, and again where that makes no difference to asking once. */
  ask<Type extends keyof Requests>(type: Type, fields: Requests[Type][0]): Promise<Requests[Type][1]>;
  /** Sends what has no answer, if there is a connection. */
  tell(type: string, fields: object): void;
  /** Joins a room, patiently where that can not be for a while; `each` gets the replies. */
  join(roomId: string, fields: JoinFields, each: (frame: ServerFrame) => boolean): Promise<void>;
  isMe(user: User | string | undefined): boolean;
  /** A room's part in the state of the client is another. */
  roomChanged(): void;
  /** Calls back when the client has ended; an error, unless it was closed. */
  onEnd(listener: (error?: ParleyError) => void): () => void;
}
