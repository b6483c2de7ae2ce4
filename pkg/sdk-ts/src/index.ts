/**
 * Rooms over WebSocket that come back by themselves: a client of Parley for
 * browsers and Node.
 *
 * @packageDocumentation
 */
export { Parley, type ParleyEvents, type ParleyOptions, type State } from "./parley.js";
export type { JoinOptions, Room, RoomEvents } from "./room.js";
export type { Deleted, Edited, Logged, Message } from "./message.js";
export type { Gap } from "./log.js";
export type { Ack, OutboxStore, Waiting } from "./outbox.js";
export { ParleyError } from "./error.js";
export { indexedDBStore } from "./indexeddb.js";
export { decode } from "./decode.js";
export type * from "./frame.js";
