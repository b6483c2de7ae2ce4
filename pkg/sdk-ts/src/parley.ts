// The client: rooms over one connection.

import { Connection, type ConnectionOptions, type Owner, type Socket } from "./connection.js";
import { ParleyError } from "./error.js";
import { Emitter } from "./event.js";
import type { Account, Limits, OnlineUser, Position, Requests, ResumedRoom, RoomSettings, RoomSummary, ServerFrame, ServerFrames, Status, User } from "./frame.js";
import { Outbox, type OutboxStore, type Waiting } from "./outbox.js";
import { Room } from "./room.js";
import type { JoinFields, Session } from "./session.js";

export interface ParleyOptions {
  /** A token that stays good, as for a script. */
  token?: string;
  /**
   * Gives a token, each time that one is needed; `refused` is one that is not
   * accepted, or not much longer. `null` says that nobody is signed in, which ends
   * the attempts; throwing, that it can not be told now, which is tried again.
   * With neither token nor getToken the client is a guest.
   */
  getToken?: (why: { refused?: string }) => string | null | Promise<string | null>;
  /** Keeps messages that wait to be sent where they outlive the page (indexedDBStore). */
  outbox?: OutboxStore;
  /**
   * What a page does that nobody sees. It sends nothing and sets no timers in any
   * case. `stay` (default) goes on listening; `pause` lets go of the connection
   * after 30 s and comes back where it was when the page is seen.
   */
  whenHidden?: "stay" | "pause";
  /** Of a Node before 22 that has none, unless `@parley/client/node` is imported. */
  WebSocket?: unknown;
  /** In [0, 1), for tests. */
  random?: () => number;
}

/**
 * idle: not begun, or closed. connecting: to the sign-in. recovering: signed
 * in, and rooms are being joined or caught up. online: nothing is missing
 * anywhere. offline: waiting for the next attempt (`retryAt`).
 */
export type State = "idle" | "connecting" | "recovering" | "online" | "offline";

export interface ParleyEvents {
  /** `state` is another. */
  state: State;
  /** There will be no further attempt by itself; `connect` makes one. `closed` where the application wished it. */
  ended: ParleyError;
  /** Of somebody who shares a room. */
  presence: { user: User; status: Status; text?: string };
  /** An administrator speaks to everybody. */
  broadcast: { content: string; from: User; timestamp: string };
  /** This user belongs to a room from now on, which is not joined by that: `user` let them in, or is they
   * themselves where another device opened a direct room; a back end is nobody. It may be lost; `list()` has the room. */
  invited: { roomId: string; user?: User };
  /** The gateway will close the connection; the client comes back by itself. */
  goingAway: { reconnectInMs: number };
  /** A message of an earlier page, or of this one, is not going to be sent. */
  failed: { message: Waiting; error: ParleyError };
  /** An error that answers nothing that anybody waits for. */
  error: ParleyError;
  /** Every frame that is no reply, also of types that this version does not know. */
  frame: ServerFrame;
}

/** Requests whose effect is the same if they are made again under the same id. */
const AGAIN = /^(get-|edit-|delete-m|mark-|open-|ping)/;

/** Most rooms in one resume (a frame has its limit), and joined at the same time. */
const MAX_RESUMED = 400;
const JOINING_AT_ONCE = 8;

/** Wait before a join is tried again, where the server names none. */
const RETRY_MS = 1000;
const MAX_RETRY_MS = 30_000;

export class Parley extends Emitter<ParleyEvents> {
  /** @internal Where there is no other; the Node entry sets it. */
  static WebSocket: unknown;

  #outbox: Outbox;
  #session: Session;
  #connection: Connection;
  #rooms = new Map<string, Room>();
  #user: Account | undefined;
  #state: State = "idle";
  #status: Requests["set-status"][0] | undefined;
  #waiting = new Set<{ resolve: () => void; reject: (error: ParleyError) => void }>(); // for a connection
  #life = 0; // counts signed-in connections
  #ends = new Set<(error?: ParleyError) => void>();

  /** @param url ws:, wss:, http: or https: of a gateway, or a path in a browser; "/ws" is added where it has no path */
  constructor(url: string | URL, options: ParleyOptions = {}) {
    super();
    const { token, getToken, outbox, whenHidden = "stay", random = Math.random } = options;
    const socket = options.WebSocket ?? globalThis.WebSocket ?? Parley.WebSocket;
    if (!socket) throw new TypeError('no WebSocket here: import "@parley/client/node", or give one in the options');
    this.#connection = new Connection(
      {
        url: address(url),
        getToken: getToken ?? (token === undefined ? undefined : ({ refused }) => (refused === token ? null : token)),
        whenHidden,
        WebSocket: socket as new (url: string, protocols: string[]) => Socket,
        random,
      } satisfies ConnectionOptions,
      this.#owner(),
    );
    this.#outbox = new Outbox(
      {
        send: ({ id, roomId, content, data }) => this.#connection.request("chat-message", { roomId, content, data }, { id }),
        place: (roomId) => (this.#isReady ? this.#rooms.get(roomId)?.place : undefined),
        reread: (roomId, from) => this.#rooms.get(roomId)?.reread(from),
        userId: () => this.#user?.id,
        changed: (roomId) => this.#rooms.get(roomId)?.emit("pending", this.#outbox.of(roomId)),
        failed: (message, error) => {
          this.#rooms.get(message.roomId)?.emit("failed", { message, error });
          this.emit("failed", { message, error });
        },
      },
      outbox,
    );
    this.#session = this.#forRooms();
  }

  get state(): State {
    return this.#state;
  }

  /** While offline: when the next attempt comes, in milliseconds since 1970. Infinity: when the page is seen. */
  get retryAt(): number {
    return this.#connection.retryAt;
  }

  /** Who is signed in; undefined before the first time. */
  get user(): Account | undefined {
    return this.#user;
  }

  /** What the gateway allows; empty before the first connection. */
  get limits(): Partial<Limits> {
    return this.#connection.limits;
  }

  /** A room of that id, the same each time. It is not joined by this. "lobby" is everybody's. */
  room(id: string): Room {
    let room = this.#rooms.get(id);
    if (!room) this.#rooms.set(id, (room = new Room(id, this.#session)));
    return room;
  }

  /** The rooms that were asked for. */
  get rooms(): IterableIterator<Room> {
    return this.#rooms.values();
  }

  /** Begins to connect; whatever needs a connection does it, too. Done when signed in. */
  connect(): Promise<void> {
    const ready = this.#whenReady();
    ready.catch(() => {}); // also told by `ended`
    void this.#outbox.open();
    this.#connection.start();
    return ready;
  }

  /** Tries at once, where the next attempt is waited for. */
  retryNow(): void {
    this.#connection.retryNow();
  }

  /**
   * Ends the session. What waits to be sent is rejected with `closed`; a store
   * keeps it. `connect` begins anew.
   */
  close(): void {
    this.#connection.stop();
    this.#ended(new ParleyError("closed", "the client was closed"));
  }

  /** Any request, where there is no method for it. Waits for a connection. */
  async ask<Type extends keyof Requests>(type: Type, fields: Requests[Type][0]): Promise<Requests[Type][1]> {
    for (;;) {
      await this.connect();
      try {
        return await this.#connection.request(type, fields);
      } catch (error) {
        if ((error as ParleyError).code !== "connection-lost" || !AGAIN.test(type)) throw error;
        if (this.#connection.state === "idle") throw new ParleyError("closed", "the client was closed");
      }
    }
  }

  /** How available the user is; told again after each reconnect. */
  async setStatus(status: Status, text?: string): Promise<void> {
    this.#status = { status, text };
    if (this.#isReady) await this.#connection.request("set-status", this.#status);
  }

  /** Makes a room; false when it exists already. */
  async createRoom(roomId: string, settings: RoomSettings = {}): Promise<boolean> {
    return (await this.ask("create-room", { roomId, ...settings })).success;
  }

  /** The private room of two, to be joined. */
  async openDirect(userId: string): Promise<Room> {
    return this.room((await this.ask("open-direct", { userId })).roomId);
  }

  /** The rooms that there are, page by page. */
  async *list(options: { prefix?: string; sort?: "id" | "name" | "members"; limit?: number } = {}): AsyncGenerator<RoomSummary, void> {
    for (let cursor: string | undefined; cursor !== ""; ) {
      const page = await this.ask("get-rooms", { ...options, cursor });
      yield* page.rooms;
      cursor = page.nextCursor ?? "";
    }
  }

  /** Who is online, page by page. */
  async *onlineUsers(): AsyncGenerator<OnlineUser, void> {
    for (let cursor: string | undefined; cursor !== ""; ) {
      const page = await this.ask("get-online-users", { cursor });
      yield* page.users;
      cursor = page.nextCursor ?? "";
    }
  }

  get #isReady(): boolean {
    return this.#connection.state === "ready";
  }

  // ---- What rooms need ------------------------------------------------------

  #forRooms(): Session {
    const ready = () => this.#isReady;
    return {
      get ready() {
        return ready();
      },
      outbox: this.#outbox,
      connect: () => void this.connect(),
      ask: (type, fields) => this.ask(type, fields),
      tell: (type, fields) => this.#connection.send(type, fields),
      join: (roomId, fields, each) => this.#join(roomId, fields, each),
      isMe: (user) => (typeof user === "string" ? user === this.#user?.username : user !== undefined && user.id === this.#user?.id),
      roomChanged: () => this.#changed(),
      onEnd: (listener) => {
        this.#ends.add(listener);
        return () => void this.#ends.delete(listener);
      },
    };
  }

  async #join(roomId: string, fields: JoinFields, each: (frame: ServerFrame) => boolean): Promise<void> {
    const life = this.#life;
    for (let tries = 0; ; tries++) {
      try {
        await this.#connection.request("join-room", { roomId, ...fields }, { each });
        return;
      } catch (cause) {
        const error = cause as ParleyError;
        if (!error.temporary) throw error;
        await new Promise((done) => setTimeout(done, error.retryAfterMs ?? Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** tries)));
        // Left meanwhile, or a newer connection does it.
        if (life !== this.#life || !this.#rooms.get(roomId)?.recovering) return;
      }
    }
  }

  // ---- What the connection tells --------------------------------------------

  #owner(): Owner {
    return {
      changed: () => this.#connectionChanged(),
      ready: (user, rooms) => void this.#signedIn(user, rooms),
      frame: (frame) => this.#frame(frame),
      places: () => this.#places(),
      ended: (error) => this.#ended(error),
    };
  }

  #connectionChanged(): void {
    if (!this.#isReady) for (const room of this.#rooms.values()) room.interrupted();
    this.#changed();
  }

  #changed(): void {
    const recovering = () => [...this.#rooms.values()].some((room) => room.recovering);
    const state = ({ idle: "idle", connecting: "connecting", waiting: "offline", ready: recovering() ? "recovering" : "online" } as const)[this.#connection.state];
    if (state === this.#state) return;
    this.#state = state;
    this.emit("state", state);
  }

  #places(): Record<string, Position> {
    const places: Record<string, Position> = {};
    let count = 0;
    for (const room of this.#rooms.values()) {
      const place = count < MAX_RESUMED ? room.resumable : undefined;
      if (!place) continue;
      places[room.id] = place;
      count++;
    }
    return places;
  }

  async #signedIn(user: Account, resumed: Record<string, ResumedRoom> = {}): Promise<void> {
    this.#user = user;
    this.#life++;
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting.clear();
    if (this.#status) this.#connection.request("set-status", this.#status).catch(() => {});
    const anew: Room[] = [];
    for (const room of this.#rooms.values()) {
      const answer = resumed[room.id];
      if (!room.joined) continue;
      if (answer && !answer.error) room.resumed(answer);
      else if (!answer || ["unavailable", "not-found", "internal"].includes(answer.error as string)) anew.push(room);
      else room.out(answer.error as string);
    }
    const next = async () => {
      for (let room; this.#isReady && (room = anew.shift()); ) if (room.joined) await room.again();
    };
    await Promise.all(Array.from({ length: JOINING_AT_ONCE }, next));
  }

  #frame(frame: ServerFrame): void {
    this.emit("frame", frame);
    switch (frame.type) {
      case "presence":
        return this.emit("presence", frame);
      case "admin-message":
        return this.emit("broadcast", frame);
      case "invited":
        return this.emit("invited", frame);
      case "going-away":
        return this.emit("goingAway", frame);
      case "error":
        return this.emit("error", new ParleyError(frame.code, frame.message, frame.retryAfterMs, frame.field));
      case "message-history":
        // Under an id it is a late answer that nobody waits for any more.
        if (frame.id !== undefined) return;
    }
    const roomId = frame.type === "chat" ? "lobby" : (frame as ServerFrames["room-left"]).roomId;
    this.#rooms.get(roomId)?.frame(frame);
  }

  #ended(error: ParleyError): void {
    for (const { reject } of this.#waiting) reject(error);
    this.#waiting.clear();
    if (error.code === "closed") this.#outbox.close(error);
    for (const room of this.#rooms.values()) room.ended(error);
    for (const end of this.#ends) end(error.code === "closed" ? undefined : error);
    this.#ends.clear();
    this.emit("ended", error);
  }

  #whenReady(): Promise<void> {
    if (this.#isReady) return Promise.resolve();
    return new Promise((resolve, reject) => void this.#waiting.add({ resolve, reject }));
  }
}

function address(url: string | URL): string {
  const base = globalThis.location?.href;
  const full = new URL(url, base);
  full.protocol = full.protocol.replace("http", "ws");
  if (full.pathname === "/") full.pathname = "/ws";
  full.hash = "";
  return full.href;
}
