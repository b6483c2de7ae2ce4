// Messages on their way out. Each keeps its id from the first try to the ack,
// so that sending it again is harmless while the server remembers ids
// (PROTOCOL.md, "Delivery" 4). One message per room is under way at a time,
// which keeps a room's messages in the order they were written.

import { ParleyError } from "./error.js";
import type { AckFrame, Position } from "./frame.js";
import { newId } from "./id.js";

/** Most messages that wait in a room. */
const MAX_WAITING = 1000;

/** Within this after the first try, a second one with the same id is surely recognised (the window is 2 minutes). */
const IDEMPOTENT_MS = 100_000;

/** Wait between tries where the server names none. */
const RETRY_MS = 2000;

/** A message that waits. It can be kept by structured clone or as JSON. */
export interface Waiting {
  readonly id: string;
  readonly roomId: string;
  readonly content?: string;
  readonly data?: unknown;
  /** Milliseconds since 1970; of two messages the later one's is greater. */
  readonly writtenAt: number;
  /** Whose it is; missing while nobody has signed in. */
  userId?: string;
  /** When it was tried first, and where the room's log was then. */
  triedAt?: number;
  triedFrom?: Position;
}

/** Where an outbox outlives the page. Calls may come before earlier ones are done. */
export interface OutboxStore {
  /** What an earlier page left. `found` may be called again when more turns up. */
  open(found: (waiting: Waiting[]) => void): Promise<void>;
  put(waiting: Waiting): Promise<void>;
  delete(id: string): Promise<void>;
  close(): void;
}

/** What became of a message. */
export interface Ack {
  /** The id of the message. */
  id: string;
  /** Its place in the room's log. */
  seq: number;
  /** When it was stored; may be missing when duplicate. */
  timestamp?: string;
  /** Whether an earlier try had stored it. */
  duplicate: boolean;
  durability?: "memory" | "file" | "replicated";
  synced?: boolean;
}

/** What an outbox needs to know of the rest. */
export interface Post {
  /** Sends a message to the ack. */
  send(waiting: Waiting): Promise<AckFrame>;
  /** Where a room's log stands, undefined unless it is joined and nothing is missing. */
  place(roomId: string): Position | undefined;
  /** Reads a room's log again from a place, for what an earlier page may have sent; caughtUp follows. */
  reread(roomId: string, from: Position): void;
  /** Who is signed in. */
  userId(): string | undefined;
  /** What waits in a room is another. */
  changed(roomId: string): void;
  /** A message will not be sent. */
  failed(waiting: Waiting, error: ParleyError): void;
}

interface Letter extends Waiting {
  resolve?: (ack: Ack) => void;
  reject?: (error: ParleyError) => void;
  sending?: boolean;
}

export class Outbox {
  #rooms = new Map<string, Letter[]>(); // oldest first
  #busy = new Set<string>(); // rooms with a message under way
  #written = 0; // when the last one was
  #pauses = new Set<() => void>();
  #post: Post;
  #store: OutboxStore | undefined;
  #opened: Promise<void> | undefined;

  constructor(post: Post, store?: OutboxStore) {
    this.#post = post;
    this.#store = store;
  }

  /** Takes over what an earlier page left; sending waits for it. */
  open(): Promise<void> {
    return (this.#opened ??= (async () => {
      try {
        await this.#store?.open((found) => this.#found(found));
      } catch {
        this.#store = undefined; // a browser that keeps nothing; chatting goes on
      }
    })());
  }

  of(roomId: string): readonly Waiting[] {
    return (this.#rooms.get(roomId) ?? []).map(bare);
  }

  add(roomId: string, content: string | undefined, data: unknown, id = newId()): Promise<Ack> {
    const waiting = this.#rooms.get(roomId) ?? [];
    if (waiting.length >= MAX_WAITING) {
      return Promise.reject(new ParleyError("outbox-full", `${MAX_WAITING} messages wait in ${roomId} already`));
    }
    const userId = this.#post.userId();
    const letter: Letter = {
      id,
      roomId,
      // A store gives them back in any order, and a clock may stand still, or go back.
      writtenAt: (this.#written = Math.max(Date.now(), this.#written + 1)),
      ...(content === undefined ? {} : { content }),
      ...(data === undefined ? {} : { data }),
      ...(userId === undefined ? {} : { userId }),
    };
    this.#rooms.set(roomId, [...waiting, letter]);
    const acknowledged = new Promise<Ack>((resolve, reject) => Object.assign(letter, { resolve, reject }));
    acknowledged.catch(() => {}); // also told by `failed`
    void this.#keep(letter);
    this.#post.changed(roomId);
    void this.flush(roomId);
    return acknowledged;
  }

  /** Sends what waits in a room that is ready for it. */
  async flush(roomId: string): Promise<void> {
    if (this.#busy.has(roomId)) return;
    this.#busy.add(roomId);
    try {
      await this.open();
      while (await this.#next(roomId));
    } finally {
      this.#busy.delete(roomId);
    }
  }

  /** The log has a message of this user: if it waits for another try, it needs none. */
  logged(roomId: string, id: string, seq: number, timestamp: string): void {
    const letter = this.#rooms.get(roomId)?.find((waiting) => waiting.id === id);
    // Of one under way the ack tells more.
    if (letter && !letter.sending) this.#done(letter, { id, seq, timestamp, duplicate: true });
  }

  /**
   * Everything in the log after `from` was seen, or, where not `recovered`, it
   * can not be any more. It is the moment of truth for what was tried too long
   * ago to be sent again blindly.
   */
  caughtUp(roomId: string, from: Position | undefined, recovered: boolean): void {
    for (const letter of this.#rooms.get(roomId) ?? []) {
      const { triedFrom } = letter;
      if (!triedFrom || !stale(letter) || !this.#mine(letter)) continue;
      if (recovered && from && from.epoch === triedFrom.epoch && from.seq <= triedFrom.seq) {
        delete letter.triedAt; // it was never stored
      } else if (!recovered && from && from.seq <= triedFrom.seq) {
        this.#fail(letter, new ParleyError("unknown-outcome", "it is not known whether this was sent"));
      }
    }
    void this.flush(roomId);
  }

  /** The session is not in a room any more: what waits there will not be sent. */
  fail(roomId: string, error: ParleyError): void {
    for (const letter of [...(this.#rooms.get(roomId) ?? [])]) if (this.#mine(letter)) this.#fail(letter, error);
  }

  /** Forgets everything; a store keeps what it has for a later page. */
  close(error: ParleyError): void {
    const letters = [...this.#rooms.values()].flat();
    this.#rooms.clear();
    for (const { reject } of letters) reject?.(error);
    for (const end of this.#pauses) end();
    if (this.#opened) this.#store?.close();
    this.#opened = undefined;
  }

  /** Tries the oldest message; true if the next one may follow. */
  async #next(roomId: string): Promise<boolean> {
    const place = this.#post.place(roomId);
    const letter = this.#rooms.get(roomId)?.find((waiting) => this.#mine(waiting));
    if (!place || !letter) return false;
    if (stale(letter)) {
      this.#post.reread(roomId, letter.triedFrom as Position);
      return false; // caughtUp goes on
    }
    const { triedAt, triedFrom } = letter;
    const untry = () => {
      delete letter.triedAt;
      delete letter.triedFrom;
      Object.assign(letter, triedAt === undefined ? {} : { triedAt, triedFrom });
    };
    letter.userId ??= this.#post.userId() as string;
    letter.sending = true;
    if (triedAt === undefined) {
      Object.assign(letter, { triedAt: Date.now(), triedFrom: place });
      await this.#keep(letter);
      if (!this.#post.place(roomId)) {
        untry();
        letter.sending = false;
        return false;
      }
    }
    try {
      const { seq = 0, timestamp, duplicate, durability, synced } = await this.#post.send(letter);
      this.#done(letter, {
        id: letter.id,
        seq,
        duplicate: duplicate === true,
        ...(timestamp && { timestamp }),
        ...(durability && { durability }),
        ...(synced && { synced }),
      });
      return true;
    } catch (cause) {
      letter.sending = false;
      const error = cause as ParleyError;
      if (!this.#rooms.get(roomId)?.includes(letter)) return true; // failed meanwhile
      if (error.code === "connection-lost") return false;
      if (error.code === "rate-limited") untry(); // it had no effect
      // Not in the room: it will be again, or be told that it is out for good.
      if (error.code === "not-joined" && !this.#post.place(roomId)) return false;
      if (!error.temporary) this.#fail(letter, error);
      else await this.#pause(error.retryAfterMs ?? RETRY_MS);
      return true;
    }
  }

  #found(found: Waiting[]): void {
    for (const waiting of found) {
      const letters = this.#rooms.get(waiting.roomId) ?? [];
      if (letters.some(({ id }) => id === waiting.id)) continue;
      this.#written = Math.max(this.#written, waiting.writtenAt);
      const all = [...letters, waiting as Letter].sort((a, b) => a.writtenAt - b.writtenAt);
      this.#rooms.set(waiting.roomId, all);
    }
    for (const roomId of new Set(found.map((waiting) => waiting.roomId))) {
      this.#post.changed(roomId);
      if (this.#opened) void this.flush(roomId);
    }
  }

  /** Whether a message is that of who is signed in. */
  #mine(letter: Letter): boolean {
    const me = this.#post.userId();
    return me === undefined ? letter.userId === undefined : (letter.userId ?? me) === me;
  }

  #done(letter: Letter, ack: Ack): void {
    if (this.#remove(letter)) letter.resolve?.(ack);
  }

  #fail(letter: Letter, error: ParleyError): void {
    if (!this.#remove(letter)) return;
    this.#post.failed(bare(letter), error);
    letter.reject?.(error);
  }

  #remove(letter: Letter): boolean {
    const letters = this.#rooms.get(letter.roomId) ?? [];
    const left = letters.filter((waiting) => waiting !== letter);
    if (left.length === letters.length) return false;
    if (left.length > 0) this.#rooms.set(letter.roomId, left);
    else this.#rooms.delete(letter.roomId);
    this.#store?.delete(letter.id).catch(() => {});
    this.#post.changed(letter.roomId);
    return true;
  }

  async #keep(letter: Letter): Promise<void> {
    // Unkept, it is still sent.
    await this.#store?.put(bare(letter)).catch(() => {});
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#pauses.delete(end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#pauses.add(end);
    });
  }
}

function stale({ triedAt }: Letter): boolean {
  return triedAt !== undefined && Date.now() - triedAt > IDEMPOTENT_MS;
}

/** Without what is this page's. */
function bare({ resolve, reject, sending, ...waiting }: Letter): Waiting {
  return waiting;
}
