// The chat: the user's rooms over the client of /parley.js, which keeps the
// connection, the order and the outbox. This turns its events into the state of
// rooms and tells views what changed. It knows no DOM.

import { indexedDBStore, Parley } from "../../parley.js";
import { Pages } from "./pages.js";
import { LOBBY, Room } from "./room.js";

/** Most rooms open at once. */
const MAX_ROOMS = 100;

/** Messages asked for at once. */
const PAGE = 50;

/** Rooms, members and people of a list that are read at once. */
const LIST = 50;

/** A read mark is told this long after the message it is about, once for all that come meanwhile. */
const READ_MS = 1000;

/** Users whose status, and whose name, is kept. */
const MAX_USERS = 1000;

/** After these only signing in can help. */
const SIGN_IN = ["revoked", "disabled", "unauthenticated", "terminated"];

/**
 * Events (CustomEvent, detail in braces):
 *   state                      `state` or the connection changed
 *   rooms                      the set of open rooms, or what a list shows of them
 *   room {roomId}              messages, notices or outbox of a room
 *   people {roomId, roster}    members, member count, statuses or who is typing;
 *                              roster: somebody came or went
 *   notice {kind, key, …}      to be shown once: kind "error", "admin" or "info"
 *   stopped {code, signIn}     there will be no further attempt
 */
export class Chat extends EventTarget {
  me = null;
  rooms = new Map(); // id → Room, the lobby first
  statuses = new Map(); // user id → {status, text}
  /** The room that is being read now, or null; what is said there counts as read. */
  attending = null;
  /** Why there will be no further attempt by itself (a code), or null. */
  ended = null;

  #options;
  #client;
  #offs = new Map(); // room id → what ends listening to it
  #left = new Set(); // direct rooms that the user has left on this page
  #names = new Map(); // user id → username, of who was met lately
  #marks = new Map(); // room id → timer of the read mark

  /** @param {object} options as for Parley */
  constructor(options) {
    super();
    this.#options = options;
  }

  /** "online", "connecting", "recovering" or "offline", as it is. */
  get state() {
    const state = this.#client?.state ?? "idle";
    return state === "idle" ? "offline" : state;
  }

  /** Whether requests can be answered now. */
  get ready() {
    return this.state === "online" || this.state === "recovering";
  }

  /** When the next attempt comes (milliseconds since 1970), 0 if none is waited for. */
  get retryAt() {
    return this.#client?.state === "offline" ? this.#client.retryAt : 0;
  }

  get limits() {
    return this.#client?.limits ?? {};
  }

  /**
   * @param {{id: string, username: string}} me who is signed in
   * @param {{id: string, name?: string, peer?: object}[]} rooms to be in, beside the lobby
   */
  start(me, rooms = []) {
    this.me = me;
    this.ended = null;
    const client = new Parley(this.#options.url, { outbox: globalThis.indexedDB && indexedDBStore(), ...this.#options });
    this.#client = client;
    client.on("state", () => this.#stateChanged());
    client.on("ended", ({ code }) => this.#client === client && this.#stopped(code));
    client.on("presence", ({ user, status, text }) => {
      this.#status(user.id, status, text);
      this.#tell("people");
    });
    client.on("invited", ({ roomId }) => {
      if (roomId.startsWith("dm:")) this.#found(roomId);
      else this.#tell("invited"); // and whoever lists rooms lists them anew
    });
    client.on("broadcast", ({ from, content }) => this.#tell("notice", { kind: "admin", text: `${from?.username ?? ""}: ${content}` }));
    client.on("goingAway", () => this.#tell("notice", { kind: "info", key: "going-away" }));
    this.#open(LOBBY);
    for (const { id, name, peer } of rooms.slice(0, MAX_ROOMS)) {
      if (id !== LOBBY) this.#open(id, { name, peer }).wanted = true;
    }
    this.#tell("rooms");
    client.connect().catch(() => {}); // told by `ended`
  }

  /** Ends the session and forgets everything; what waits to be sent is kept for the same user. */
  stop() {
    const client = this.#client;
    this.#client = undefined;
    for (const roomId of [...this.rooms.keys()]) this.#close(roomId);
    client?.close();
    this.statuses.clear();
    this.#names.clear();
    this.#left.clear();
    this.me = null;
    this.attending = null;
  }

  /** The next attempt at once, also after the last one. */
  retryNow() {
    if (!this.#client) return;
    if (this.#client.state === "idle") {
      this.ended = null;
      this.#client.connect().catch(() => {});
    } else {
      this.#client.retryNow();
    }
  }

  // ---- What a user does -----------------------------------------------------

  /** The client's room, for what has no method here: edit, moderate, invite, … */
  line(roomId) {
    return this.#client.room(roomId);
  }

  /** Opens a room, joining it; done when it is caught up. */
  async join(roomId, { name, peer } = {}) {
    const room = this.rooms.get(roomId);
    if (room && room.status !== "out") return;
    if (!room && this.rooms.size >= MAX_ROOMS) throw Object.assign(new Error(), { code: "too-many-rooms" });
    if (room) room.status = "joining";
    else this.#open(roomId, { name, peer });
    this.#tell("rooms");
    await this.#client.room(roomId).join({ history: PAGE }).catch(() => {}); // told by `out`
  }

  /** Makes a room and opens it; opens it too if it was there already, and tells which. */
  async create({ roomId, name, visibility, persistent }) {
    const made = await this.#client.createRoom(roomId, { name, visibility, persistent });
    await this.join(roomId, { name });
    return made;
  }

  /** Opens the room of this user and another one; its id. */
  async direct({ id, username }) {
    const { id: roomId } = await this.#client.openDirect(id);
    this.#left.delete(roomId);
    const peer = { id, username };
    const room = this.rooms.get(roomId) ?? this.#open(roomId, { peer });
    Object.assign(room, { peer, wanted: true });
    this.#tell("rooms");
    return roomId;
  }

  async leave(roomId) {
    if (roomId === LOBBY) return;
    this.#close(roomId);
    if (roomId.startsWith("dm:")) this.#left.add(roomId);
    this.#tell("rooms");
    await this.#client.room(roomId).leave();
  }

  /** Writes a message; it waits in the outbox until the log has it. */
  write(roomId, content, { replyTo } = {}) {
    const data = replyTo === undefined ? {} : { data: { replyTo } };
    this.#client.room(roomId).send({ content, ...data }).catch(() => {}); // told by `failed`
  }

  /** Messages of a room on their way out, oldest first. */
  pending(roomId) {
    return this.#client?.room(roomId).pending ?? [];
  }

  /** Sends a failed message again, under its id. It may end up stored twice if nobody knows whether it was. */
  again(roomId, id) {
    const message = this.rooms.get(roomId)?.failed.find((failed) => failed.id === id);
    if (!message) return;
    this.discard(roomId, id);
    const { content, data } = message;
    this.#client.room(roomId).send({ content, data }, { id }).catch(() => {});
  }

  discard(roomId, id) {
    const room = this.rooms.get(roomId);
    room.failed = room.failed.filter((failed) => failed.id !== id);
    this.#tell("room", { roomId });
  }

  typing(roomId) {
    this.#client.room(roomId).signal("typing");
  }

  async setStatus(status, text) {
    await this.#client.setStatus(status, text);
    this.#status(this.me.id, status, text);
    this.#tell("people");
  }

  /** The user looks at a room, or (null) at none; what is there counts as read. */
  attend(roomId) {
    // Where what is new began is of interest until another room is looked at.
    for (const room of this.rooms.values()) if (roomId !== null && room.id !== roomId) room.divider = null;
    this.attending = roomId;
    if (roomId !== null) this.#read(roomId, { divide: true });
  }

  // Also on the user's other devices.
  #read(roomId, how) {
    const room = this.rooms.get(roomId);
    if (!room?.read(how)) return;
    this.#tell("rooms");
    if (this.#marks.has(roomId)) return;
    const timer = setTimeout(() => {
      this.#marks.delete(roomId);
      if (room.status === "joined" && this.ready) this.#client.room(roomId).markRead(room.readSeq).catch(() => {});
    }, READ_MS);
    this.#marks.set(roomId, timer);
  }

  /** Loads the page before the oldest message of a room. */
  async older(roomId) {
    const room = this.rooms.get(roomId);
    if (!room || !room.hasOlder || room.loadingOlder || !this.ready) return;
    const before = room.oldest;
    room.loadingOlder = true;
    this.#tell("room", { roomId });
    try {
      const { events, hasMore } = await this.#client.room(roomId).history({ before, limit: PAGE });
      // A reset in between has made the page one of another list.
      if (room.oldest === before) room.takeOlder(events.map((event) => [event, this.#isMine(event)]), hasMore);
    } finally {
      room.loadingOlder = false;
      this.#tell("room", { roomId });
    }
  }

  /** The rooms there are, those with most people first, or those whose name begins with a text. */
  list(prefix) {
    return new Pages(this.#client.list({ limit: LIST, ...(prefix ? { prefix, sort: "name" } : { sort: "members" }) })).read(LIST);
  }

  /** Who is online. */
  async online() {
    return this.seen(await new Pages(this.#client.onlineUsers()).read(LIST));
  }

  /** Who is in a room; what was read of it before is read on. */
  async loadMembers(roomId, pages) {
    const room = this.rooms.get(roomId);
    // The lobby has no member list.
    if (!room || room.isLobby || room.status !== "joined" || !this.ready) return undefined;
    const read = this.seen(await (pages ?? new Pages(this.#client.room(roomId).members())).read(LIST));
    room.memberList(read.items, read.more);
    if (room.isDirect) this.#met(room, read.items.find(({ id }) => id !== this.me?.id));
    this.#tell("people", { roomId });
    return read;
  }

  /** Notes the names and statuses that a list tells. */
  seen(pages) {
    for (const { id, username, status, text } of pages.items) {
      keep(this.#names, id, username);
      if (status) this.#status(id, status, text);
    }
    return pages;
  }

  /** What a user is called, where that is known; the server does not tell it with every id. */
  nameOf(userId) {
    return this.#names.get(userId);
  }

  /** Opens the direct rooms that somebody has opened with this user. */
  async discover() {
    const found = await new Pages(this.#client.list({ prefix: "dm:", limit: LIST })).read(LIST);
    for (const { id } of found.items) this.#found(id);
  }

  #found(id) {
    if (this.rooms.has(id) || this.#left.has(id) || this.rooms.size >= MAX_ROOMS) return;
    this.#open(id);
    this.#tell("rooms");
  }

  /** How somebody is, or when they were here last. */
  async presenceOf(userId) {
    return (await this.#client.ask("get-presence", { userIds: [userId] })).users[0];
  }

  // ---- Rooms ----------------------------------------------------------------

  #open(roomId, { name, peer } = {}) {
    const room = new Room(roomId, name || roomId);
    room.peer = peer ?? null;
    this.rooms.set(roomId, room);
    const line = this.#client.room(roomId);
    // The page begins where this user left the room before, or with the newest.
    let first = true;
    const again = line.position !== undefined;
    let count = 0;
    const heard = (event) => {
      count++;
      this.#logged(room, event);
    };
    this.#offs.set(roomId, [
      line.on("message", heard),
      line.on("edited", heard),
      line.on("deleted", heard),
      line.on("gap", ({ reason }) => {
        room.reset(reason === "epoch" ? "renewed" : "missed");
        room.hasOlder = true;
        this.#tell("room", { roomId });
      }),
      line.on("caughtUp", () => {
        if (first) room.hasOlder = again || count >= PAGE;
        this.#caughtUp(room, line, first);
        first = false;
      }),
      line.on("out", ({ code, reason }) => this.#out(room, code, reason)),
      line.on("pending", () => this.#tell("room", { roomId })),
      line.on("failed", ({ message, error }) => {
        room.failed.push({ ...message, reason: error });
        this.#tell("room", { roomId });
      }),
      line.on("signal", ({ event, user }) => {
        if (event !== "typing" || user.id === this.me.id) return;
        room.typed(user);
        this.#tell("people", { roomId });
      }),
      line.on("joined", (event) => this.#roster(room, "joined", event)),
      line.on("left", (event) => this.#roster(room, "left", event)),
      line.on("stats", ({ memberCount }) => {
        room.memberCount = memberCount;
        this.#tell("people", { roomId });
      }),
      line.on("updated", (settings) => this.#described(room, settings)),
    ]);
    line.join({ history: PAGE }).catch(() => {}); // told by `out`
    return room;
  }

  #close(roomId) {
    for (const off of this.#offs.get(roomId) ?? []) off();
    this.#offs.delete(roomId);
    clearTimeout(this.#marks.get(roomId));
    this.#marks.delete(roomId);
    this.rooms.delete(roomId);
  }

  #caughtUp(room, line, first) {
    room.caughtUp();
    room.memberCount = line.memberCount;
    // Somebody has written to this user, who has never been there.
    const none = room.isDirect ? 0 : (line.position?.seq ?? 0);
    if (first || line.readSeq > room.readSeq) room.readUpTo(line.readSeq ?? none, line.unread);
    if (this.attending === room.id) this.#read(room.id, { divide: first });
    this.#tell("room", { roomId: room.id });
    this.#tell("rooms");
    if (first && !room.isLobby && !room.isDirect) {
      line.info().then((info) => this.#described(room, info), () => {});
    }
    // Of the other rooms, when they are looked at.
    if (this.attending === room.id) this.loadMembers(room.id).catch(() => {});
  }

  #described(room, { name, topic = "", visibility = "", persistent = false }) {
    Object.assign(room, { name: name || room.id, topic, visibility, persistent });
    this.#tell("rooms");
  }

  #out(room, code, reason) {
    const text = reason && reason !== code ? reason : "";
    room.out({ code, text });
    if (code === "kicked" || code === "room-deleted") room.notice({ kind: code, text });
    else this.#tell("notice", { kind: "error", code, text, room: room.name });
    // A room that was never seen has nothing to stay for.
    if (room.messages.length === 0 && room.notices.length === 0 && !room.isLobby) this.#close(room.id);
    this.#tell("room", { roomId: room.id });
    this.#tell("people", { roomId: room.id });
    this.#tell("rooms");
  }

  #logged(room, event) {
    const mine = this.#isMine(event);
    if (!room.take(event, mine)) return;
    if (event.user.id) keep(this.#names, event.user.id, event.user.username);
    if (room.isDirect && !mine && event.type === "message") this.#met(room, event.user);
    if (this.attending === room.id && room.readSeq !== null) this.#read(room.id);
    else this.#tell("rooms");
    this.#tell("room", { roomId: room.id });
  }

  #isMine({ user }) {
    // What is said in the lobby carries only a name while it is live.
    return user.id ? user.id === this.me?.id : user.username === this.me?.username;
  }

  #met(room, user) {
    if (!user?.username || room.peer?.username === user.username) return;
    room.peer = { id: user.id, username: user.username };
    this.#tell("rooms");
  }

  #roster(room, kind, event) {
    room.roster(kind, event);
    if (room.isDirect && kind === "joined") this.#met(room, event.user);
    this.#tell("room", { roomId: room.id });
    this.#tell("people", { roomId: room.id, roster: true });
  }

  #status(userId, status, text = "") {
    keep(this.statuses, userId, { status, text });
  }

  // ---- The connection -------------------------------------------------------

  #stateChanged() {
    if (!this.#client) return;
    if (this.ready) this.me = this.#client.user ?? this.me;
    else for (const room of this.rooms.values()) room.interrupted();
    this.#tell("state");
    this.#tell("rooms");
  }

  #stopped(code) {
    this.ended = code;
    this.#tell("state");
    this.#tell("stopped", { code, signIn: SIGN_IN.includes(code) });
  }

  #tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Keeps something of a user, and forgets who was met longest ago. */
function keep(users, id, value) {
  users.delete(id);
  users.set(id, value);
  if (users.size > MAX_USERS) users.delete(users.keys().next().value);
}
