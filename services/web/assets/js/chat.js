// The chat itself: the user's rooms over one connection. It turns frames into
// the state of rooms, joins them again after a reconnect from where they
// stood, fills holes, and tells views what changed. It knows no DOM.

import { Connection, ConnectionLost, RequestError } from "./connection.js";
import { incoming } from "./incoming.js";
import { Outbox } from "./outbox.js";
import { catchUp, enterLobby, join, PAGE } from "./recovery.js";
import { LOBBY, Room } from "./rooms.js";

/** Most rooms open at once, and joined at the same time after a reconnect. */
const MAX_ROOMS = 100;
const JOINING_AT_ONCE = 8;

/**
 * Events (CustomEvent, detail in braces):
 *   state                      `state` or the connection changed
 *   rooms                      the set of open rooms, or what a list shows of them
 *   room {roomId}              messages, notices or outbox of a room
 *   people {roomId, roster}    members, member count, statuses or who is typing;
 *                              roster: somebody came or went
 *   notice {text, kind}        to be shown once: kind "error", "admin" or "info"
 *   stopped {reason, signIn}   there will be no further attempt
 */
export class Chat extends EventTarget {
  me = null;
  rooms = new Map(); // id → Room, the lobby first
  statuses = new Map(); // user id → {status, text}
  /** The room that is being read now, or null; its messages are not counted as unread. */
  attending = null;
  /** Messages on their way out. */
  outbox;
  /** Why there will be no further attempt by itself; "" while there will. */
  ended = "";

  #connection;
  #life = null; // AbortController of the present signed-in connection
  #recovering = 0; // rooms that are being caught up

  /** @param {object} options as for Connection, without handlers */
  constructor(options) {
    super();
    this.#connection = new Connection({
      ...options,
      handlers: {
        changed: () => this.#connectionChanged(),
        ready: (success) => this.#ready(success),
        frame: (frame) => this.#frame(frame),
        stopped: (end) => {
          this.ended = end.reason;
          this.#tell("state");
          this.#tell("stopped", end);
        },
      },
    });
    this.outbox = new Outbox({
      send: (entry) => this.#send(entry),
      gate: (entry, stale) => this.#gate(entry, stale),
      changed: (roomId) => this.#tell("room", { roomId }),
    });
  }

  /** "online", "connecting", "recovering" or "offline", as it is. */
  get state() {
    switch (this.#connection.state) {
      case "ready":
        return this.#recovering > 0 ? "recovering" : "online";
      case "connecting":
        return "connecting";
      default:
        return "offline";
    }
  }

  /** When the next attempt comes (milliseconds since 1970), 0 if none is waited for. */
  get retryAt() {
    return this.#connection.state === "waiting" ? this.#connection.retryAt : 0;
  }

  get limits() {
    return this.#connection.limits;
  }

  /** @param {{id: string, username: string}} me who is signed in
   *  @param {string[]} roomIds the rooms to be in, beside the lobby */
  start(me, roomIds = []) {
    this.me = me;
    this.ended = "";
    this.#recovering = 0;
    this.#add(LOBBY, "Lobby");
    for (const id of roomIds.slice(0, MAX_ROOMS)) this.#add(id);
    this.#tell("rooms");
    this.#connection.start();
  }

  /** Ends the session and forgets everything. */
  stop() {
    this.#connection.stop();
    this.outbox.clear();
    this.rooms.clear();
    this.statuses.clear();
    this.me = null;
    this.attending = null;
  }

  /** The next attempt at once, also after the last one. */
  retryNow() {
    if (this.ended) {
      this.ended = "";
      this.#connection.start();
    } else {
      this.#connection.retryNow();
    }
  }

  /** After a sleep, or when the network changed: is the connection alive? */
  check() {
    this.#connection.check();
  }

  renewToken() {
    return this.#connection.reauthenticate();
  }

  // ---- What a user does -----------------------------------------------------

  /** Opens a room, joining it; done when it is caught up. */
  async join(roomId, name) {
    let room = this.rooms.get(roomId);
    if (room && room.status !== "out") return;
    if (!room && this.rooms.size >= MAX_ROOMS) {
      throw new RequestError({ code: "invalid-argument", message: `At most ${MAX_ROOMS} rooms can be open.` });
    }
    room ??= this.#add(roomId, name);
    room.status = "joining";
    this.#tell("rooms");
    // Without a connection, the next one joins it.
    if (this.#life) await this.#recover(room, this.#life.signal);
  }

  /** Makes a room and opens it; opens it too if it was there already. */
  async create({ roomId, name, visibility, persistent }) {
    const { success } = await this.#connection.request("create-room", { roomId, name, visibility, persistent });
    await this.join(roomId, name);
    return success;
  }

  async leave(roomId) {
    if (roomId === LOBBY) return;
    const room = this.rooms.get(roomId);
    this.rooms.delete(roomId);
    this.outbox.fail(roomId, "You left the room.");
    for (const { id } of this.outbox.of(roomId)) this.outbox.discard(roomId, id);
    this.#tell("rooms");
    if (room?.status !== "joined") return;
    await this.#connection.request("leave-room", { roomId }).catch((error) => {
      if (!(error instanceof ConnectionLost) && error.code !== "not-joined") throw error;
    });
  }

  /** Writes a message; it waits in the outbox until the log has it. */
  write(roomId, content) {
    return this.outbox.add(roomId, content);
  }

  typing(roomId) {
    if (this.rooms.get(roomId)?.status === "joined") {
      this.#connection.send("signal", { roomId, event: "typing", id: "typing" });
    }
  }

  read(roomId) {
    const room = this.rooms.get(roomId);
    if (!room || room.unread === 0) return;
    room.unread = 0;
    this.#tell("rooms");
  }

  /** Loads the page before the oldest message of a room. */
  async older(roomId) {
    const room = this.rooms.get(roomId);
    if (!room || !room.hasOlder || room.loadingOlder || !this.#life) return;
    const { resetAt } = room;
    room.loadingOlder = true;
    this.#tell("room", { roomId });
    try {
      const page = await this.#connection.request("get-history", { roomId, before: room.oldest, limit: PAGE });
      // A reset in between has made the page one of another list.
      if (room.resetAt === resetAt) room.addOlder(page.messages, page.hasMore);
    } finally {
      room.loadingOlder = false;
      this.#tell("room", { roomId });
    }
  }

  /** A page of the rooms there are: {rooms, nextCursor}. */
  async list({ prefix, cursor, limit = 50 } = {}) {
    const fields = { prefix: prefix || undefined, cursor: cursor || undefined, limit };
    const page = await this.#connection.request("get-rooms", fields);
    for (const { id, name } of page.rooms) {
      const room = this.rooms.get(id);
      if (room && name && !room.isLobby) room.name = name;
    }
    return page;
  }

  /** A page of who is online: {users, nextCursor}. */
  online({ cursor, limit = 100 } = {}) {
    return this.#connection.request("get-online-users", { cursor: cursor || undefined, limit });
  }

  /** Loads who is in a room, or the next page of it. */
  async loadMembers(roomId, { more = false } = {}) {
    const room = this.rooms.get(roomId);
    // The lobby has no member list.
    if (!room || room.isLobby || room.status !== "joined") return;
    const cursor = more ? room.membersCursor : undefined;
    const page = await this.#connection.request("get-room-members", { roomId, cursor: cursor || undefined, limit: 100 });
    room.memberPage(page, { first: !cursor });
    this.#tell("people", { roomId });
  }

  // ---- Recovery -------------------------------------------------------------

  #connectionChanged() {
    if (this.#connection.state !== "ready" && this.#life) {
      this.#life.abort();
      this.#life = null;
      this.#recovering = 0;
      for (const room of this.rooms.values()) room.interrupted();
      this.#tell("rooms");
    }
    this.#tell("state");
  }

  async #ready(success) {
    this.me = success.user ?? this.me;
    this.#life = new AbortController();
    const { signal } = this.#life;
    const rooms = [...this.rooms.values()].filter((room) => room.status !== "out");
    const next = async () => {
      for (let room; !signal.aborted && (room = rooms.shift()); ) await this.#recover(room, signal);
    };
    // Counted before any of them starts, so that it never says online in between.
    this.#recovering++;
    await Promise.all(Array.from({ length: JOINING_AT_ONCE }, next));
    if (signal.aborted) return;
    this.#recovering--;
    this.#tell("state");
  }

  /** Brings a room to where nothing is missing, however long it takes; the end of the connection ends it. */
  async #recover(room, signal) {
    const take = (frames, how) => this.#page(room, frames, how);
    this.#recovering++;
    this.#tell("state");
    try {
      if (room.isLobby) {
        room.status = "joined";
        this.outbox.flush(room.id);
        await enterLobby(this.#connection, room, signal);
      } else {
        await join(this.#connection, room, signal, take);
        if (this.rooms.get(room.id) !== room) {
          // Left while it was being joined.
          this.#connection.request("leave-room", { roomId: room.id }).catch(() => {});
          return;
        }
        // Chatting goes on also where the log cannot be read at the moment.
        this.outbox.flush(room.id);
      }
      await catchUp(this.#connection, room, signal, take);
      this.outbox.flush(room.id);
    } catch (error) {
      this.#cannot(room, error, signal);
    } finally {
      if (!signal.aborted) {
        this.#recovering--;
        this.#tell("state");
        this.#tell("rooms");
      }
    }
    // Of the other rooms, when they are looked at.
    if (!signal.aborted && this.attending === room.id) this.loadMembers(room.id).catch(() => {});
  }

  #cannot(room, error, signal) {
    if (signal.aborted || error instanceof ConnectionLost) return;
    this.#out(room, error.message);
    // A room that was never seen has nothing to stay for.
    if (room.position === null && !room.isLobby) this.rooms.delete(room.id);
    this.#tell("notice", { kind: "error", text: `${room.name}: ${error.message}` });
  }

  #out(room, reason) {
    room.out(reason);
    this.outbox.fail(room.id, reason);
    this.#tell("room", { roomId: room.id });
    this.#tell("people", { roomId: room.id });
    this.#tell("rooms");
  }

  #page(room, frames, { missed, mayHaveOlder }) {
    for (const frame of room.addPage(frames, { mayHaveOlder })) this.#arrived(room, frame, missed);
    this.#tell("room", { roomId: room.id });
  }

  // ---- Outgoing -------------------------------------------------------------

  #gate(entry, stale) {
    const room = this.rooms.get(entry.roomId);
    if (!this.#life || room?.status !== "joined") return "wait";
    if (!stale) return "go";
    if (room.behind) return "wait";
    return room.resetAt > entry.triedAt ? "unknown" : "go";
  }

  async #send({ id, roomId, content }) {
    const ack =
      roomId === LOBBY
        ? await this.#connection.request("chat", { message: content }, { id })
        : await this.#connection.request("chat-message", { roomId, content }, { id });
    // Usually the message itself has come before; if it has not, it is known well enough.
    const room = this.rooms.get(roomId);
    if (room && ack.seq && ack.timestamp) {
      room.acked({ seq: ack.seq, id, content, user: this.me, timestamp: ack.timestamp });
    }
    return ack;
  }

  // ---- Incoming -------------------------------------------------------------

  #frame(frame) {
    const room = this.rooms.get(frame.type === "chat" ? LOBBY : frame.roomId);
    incoming(frame, room, {
      me: this.me,
      statuses: this.statuses,
      live: (known) => this.#live(known, frame),
      out: (known, reason) => this.#out(known, reason),
      tell: (type, detail) => this.#tell(type, detail),
    });
  }

  #live(room, frame) {
    const { fresh, hole } = room.live(frame);
    if (fresh) {
      this.#arrived(room, frame, true);
      this.#tell("room", { roomId: room.id });
    }
    if (hole) {
      const { signal } = this.#life;
      catchUp(this.#connection, room, signal, (frames, how) => this.#page(room, frames, how)).then(
        () => this.outbox.flush(room.id),
        (error) => this.#cannot(room, error, signal),
      );
    }
  }

  #arrived(room, frame, counts) {
    const mine = typeof frame.user === "object" ? frame.user?.id === this.me.id : frame.user === this.me.username;
    if (mine) {
      if (frame.id) this.outbox.settled(room.id, frame.id);
    } else if (counts && this.attending !== room.id && !frame.type?.startsWith("message-")) {
      room.unread++;
      this.#tell("rooms");
    }
  }

  #add(roomId, name) {
    const room = new Room(roomId, name || roomId);
    this.rooms.set(roomId, room);
    return room;
  }

  #tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
