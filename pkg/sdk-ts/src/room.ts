// One room, as the application has it: joining and coming back, what is said
// in it, who is there, and what can be asked of it.

import { ParleyError } from "./error.js";
import { Emitter } from "./event.js";
import type { AckFrame, Entry, Member, Position, RoomInfo, RoomSettings, RoomUpdated, SanctionedUser, ServerFrame, User } from "./frame.js";
import { Log, type Gap } from "./log.js";
import { type LogEvents, type Logged, type Message, read } from "./message.js";
import type { Ack, Waiting } from "./outbox.js";
import type { Session } from "./session.js";
import { Stream } from "./stream.js";

export interface JoinOptions {
  /** How many of the newest messages to begin with, where there is no `after`; 0 to 1000, 50 if missing. */
  history?: number;
  /** Where the application stands already (`room.position` of an earlier page): what follows comes first. */
  after?: Position;
}

export interface RoomEvents extends LogEvents {
  /** Messages are missing at this place: the log does not have them any more. The newest follow. */
  gap: Gap;
  signal: { event: string; data?: unknown; user: User };
  joined: { user: User; memberCount: number };
  left: { user: User; memberCount: number };
  /** Instead of `joined` and `left` where many are. */
  stats: { memberCount: number };
  updated: RoomUpdated;
  /** In the room, and nothing is missing: after each join, and each time that the connection is back. */
  caughtUp: { position: Position };
  /** Not in the room any more: `kicked`, `room-deleted`, or the code of the error. */
  out: { code: string; reason?: string };
  /** What waits to be sent is another. */
  pending: readonly Waiting[];
  /** A message is not going to be sent; also one of an earlier page, which has no promise. */
  failed: { message: Waiting; error: ParleyError };
}

export class Room extends Emitter<RoomEvents> {
  readonly id: string;
  /** Users in the room, as far as is known. */
  memberCount = 0;
  /** How far this user had read when the room was joined, and how many entries followed; missing without a mark. */
  readSeq: number | undefined;
  unread: number | undefined;

  #session: Session;
  #log = new Log();
  /** in: joined, and nothing missing. joining: will be. out: not wanted. */
  #state: "out" | "joining" | "in" = "out";
  #history: number | undefined;
  #asked: Position | undefined; // where the join under way goes on from
  #turn = 0; // tells the join under way from earlier ones
  #futile = false; // the log was asked for from an earlier place, and has not all of it any more
  #join: { promise: Promise<void>; resolve: () => void; reject: (error: ParleyError) => void } | undefined;

  /** @internal */
  constructor(id: string, session: Session) {
    super();
    this.id = id;
    this.#session = session;
  }

  /** Whether the room is joined, and will be again after a reconnect. */
  get joined(): boolean {
    return this.#state !== "out";
  }

  /** Up to where the application has got everything; undefined before the first join. */
  get position(): Position | undefined {
    return this.#log.position;
  }

  /** Messages that wait to be stored, oldest first. */
  get pending(): readonly Waiting[] {
    return this.#session.outbox.of(this.id);
  }

  // ---- What an application does ---------------------------------------------

  /**
   * Enters the room, and stays in it over reconnects until `leave`. Listeners
   * are best there before. Done when what the log has was delivered.
   */
  join({ history, after }: JoinOptions = {}): Promise<void> {
    if (this.#state === "in") return Promise.resolve();
    if (!this.#join) {
      let settle = {} as { resolve: () => void; reject: (error: ParleyError) => void };
      const promise = new Promise<void>((resolve, reject) => (settle = { resolve, reject }));
      promise.catch(() => {}); // also told by `out`
      this.#join = { promise, ...settle };
      this.#history = history;
      if (after) this.#log = new Log(after);
      this.#state = "joining";
      this.#session.connect();
      this.#session.roomChanged();
      void this.#enter(this.position);
    }
    return this.#join.promise;
  }

  async leave(): Promise<void> {
    if (this.#state === "out") return;
    this.#exit(new ParleyError("left", "the room was left"));
    await this.#session.ask("leave-room", { roomId: this.id }).catch((error: ParleyError) => {
      if (error.code !== "not-joined" && error.code !== "connection-lost") throw error;
    });
  }

  /**
   * Sends a message; done when the log has it. Until then it waits, over
   * reconnects, and is sent again under the same id. The room has to be joined, or
   * to be in time.
   */
  send(message: string | { content?: string; data?: unknown }, { id }: { id?: string } = {}): Promise<Ack> {
    const { content, data } = typeof message === "string" ? { content: message, data: undefined } : message;
    this.#session.connect();
    return this.#session.outbox.add(this.id, content, data, id);
  }

  /** Tells the others something that is not stored, once, if there is a connection. */
  signal(event: string, data?: unknown): void {
    if (this.#state === "in") this.#session.tell("signal", { roomId: this.id, event, data });
  }

  /** A page of the log, oldest first: the messages, and `events` with edits and deletions too. It is not delivered to listeners. */
  async history(page: { limit?: number; before?: number; after?: number } = {}): Promise<{ messages: Message[]; events: Logged[]; hasMore: boolean }> {
    const { messages, hasMore } = await this.#session.ask("get-history", { roomId: this.id, ...page });
    const events = messages.map((entry) => read(this.id, entry, false)).filter((event) => event !== undefined);
    return { messages: events.filter((event) => event.type === "message"), events, hasMore };
  }

  /** The messages from now on; `for await (const message of room)` is the same. Ends when the client is closed. */
  messages(): AsyncIterableIterator<Message> {
    return new Stream<Message>((stream) => {
      const off = this.on("message", (message) => stream.push(message));
      const end = this.#session.onEnd((error) => stream.end(error));
      return () => {
        off();
        end();
      };
    });
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Message> {
    return this.messages();
  }

  /** Who is in the room now, page by page. */
  async *members(): AsyncGenerator<Member, void> {
    for (let cursor: string | undefined; cursor !== ""; ) {
      const page = await this.#session.ask("get-room-members", { roomId: this.id, cursor });
      yield* page.members;
      cursor = page.nextCursor ?? "";
    }
  }

  /** Who is banned or muted, page by page; for moderators. */
  async *sanctions(): AsyncGenerator<SanctionedUser, void> {
    for (let cursor: string | undefined; cursor !== ""; ) {
      const page = await this.#session.ask("get-room-sanctions", { roomId: this.id, cursor });
      yield* page.users;
      cursor = page.nextCursor ?? "";
    }
  }

  edit(target: number, content: string): Promise<AckFrame> {
    return this.#session.ask("edit-message", { roomId: this.id, target, content });
  }

  delete(target: number): Promise<AckFrame> {
    return this.#session.ask("delete-message", { roomId: this.id, target });
  }

  /** Notes how far this user has read, on all devices. */
  markRead(seq = this.position?.seq ?? 0): Promise<AckFrame> {
    return this.#session.ask("mark-read", { roomId: this.id, seq });
  }

  info(): Promise<RoomInfo> {
    return this.#session.ask("get-room-info", { roomId: this.id });
  }

  update(settings: RoomSettings & { revision?: number }): Promise<AckFrame> {
    return this.#session.ask("update-room", { roomId: this.id, ...settings });
  }

  /** Ends the room, with its log. */
  remove(): Promise<AckFrame> {
    return this.#session.ask("delete-room", { roomId: this.id });
  }

  /** What moderators do to users. `until` is when a ban or mute ends by itself. */
  moderate(action: "kick" | "ban" | "unban" | "mute" | "unmute", userId: string, { reason, until }: { reason?: string; until?: Date } = {}): Promise<AckFrame> {
    return this.#session.ask(action, { roomId: this.id, userId, reason, until: until?.toISOString() });
  }

  setRole(userId: string, role: Member["role"]): Promise<AckFrame> {
    return this.#session.ask("set-role", { roomId: this.id, userId, role });
  }

  invite(userId: string): Promise<AckFrame> {
    return this.#session.ask("invite", { roomId: this.id, userId });
  }

  uninvite(userId: string): Promise<AckFrame> {
    return this.#session.ask("uninvite", { roomId: this.id, userId });
  }

  // ---- What the session tells -----------------------------------------------

  /** @internal Whether the room is being caught up. */
  get recovering(): boolean {
    return this.#state === "joining";
  }

  /** @internal Where the log stands, if the room is joined and nothing is missing. */
  get place(): Position | undefined {
    return this.#state === "in" ? this.position : undefined;
  }

  /** @internal Where a resume goes on from. */
  get resumable(): Position | undefined {
    if (!this.joined) return undefined;
    this.#turn++;
    return (this.#asked = this.position);
  }

  /** @internal The connection is gone. */
  interrupted(): void {
    this.#turn++;
    this.#futile = false;
    this.#log.interrupt();
    if (this.#state === "in") this.#state = "joining";
  }

  /** @internal There will be no other connection by itself. */
  ended(error: ParleyError): void {
    this.#join?.reject(error);
    this.#join = undefined;
  }

  /** @internal Signed in anew: the room has to be joined again. */
  again(): Promise<void> {
    return this.#enter(this.position);
  }

  /** @internal Reads the log again from an earlier place. */
  reread(from: Position): void {
    if (this.#state !== "in") return;
    this.#state = "joining";
    this.#session.roomChanged();
    void this.#enter(from);
  }

  /** @internal A resume has brought the room back. */
  resumed(answer: { recovered: boolean; seq: number; epoch: string; memberCount: number }): void {
    this.#begin(answer);
  }

  /** @internal Anything that concerns this room, in the order in which it came. */
  frame(frame: ServerFrame): void {
    switch (frame.type) {
      case "message-history":
        return this.#page(frame);
      case "chat":
      case "chat-message":
      case "room-message":
      case "message-edited":
      case "message-deleted":
        // What comes while the room is not caught up, the pages will bring.
        if (this.#state !== "in") return;
        if (this.#log.hole(frame)) return this.reread(this.position as Position);
        return this.#take(frame, true);
      case "signal":
        return this.emit("signal", frame);
      case "user-joined":
      case "user-left":
        this.memberCount = frame.memberCount;
        return this.emit(frame.type === "user-joined" ? "joined" : "left", frame);
      case "room-stats":
        this.memberCount = frame.memberCount;
        return this.emit("stats", frame);
      case "room-updated":
        return this.emit("updated", frame);
      case "room-deleted":
        return this.out("room-deleted");
      case "kicked":
        return this.out("kicked", frame.reason);
    }
  }

  /** @internal Not in the room any more, and not by its own will. */
  out(code: string, reason?: string): void {
    if (this.#state === "out") return;
    this.#exit(new ParleyError(code, reason ?? code));
    this.emit("out", { code, ...(reason !== undefined && { reason }) });
  }

  // ---- Recovery -------------------------------------------------------------

  async #enter(from: Position | undefined): Promise<void> {
    if (!this.#session.ready) return; // the next connection does it
    this.#asked = from;
    const turn = ++this.#turn;
    try {
      await this.#session.join(this.id, { after: from?.seq, epoch: from?.epoch, history: this.#history }, (frame) => {
        if (turn !== this.#turn || this.#state === "out") return frame.type === "room-joined";
        if (frame.type === "room-joined") {
          this.readSeq = frame.readSeq;
          this.unread = frame.unread;
          this.#begin(frame);
          return true;
        }
        this.frame(frame);
        return this.#log.behind;
      });
      if (this.#state === "out") this.#session.tell("leave-room", { roomId: this.id }); // left meanwhile
    } catch (cause) {
      const { code, message } = cause as ParleyError;
      if (code !== "connection-lost" && turn === this.#turn) this.out(code, message);
    }
  }

  #begin(answer: { recovered: boolean; seq: number; epoch: string; memberCount: number; oldestSeq?: number }): void {
    this.memberCount = answer.memberCount;
    const { epoch, seq } = this.position ?? {};
    this.#futile = !answer.recovered && epoch === answer.epoch && this.#asked !== undefined && this.#asked.seq < (seq as number);
    if (this.#futile) return;
    const gap = this.#log.begin(answer, this.#asked);
    if (gap) this.emit("gap", gap);
  }

  #page({ messages, hasMore }: { messages: ServerFrame[]; hasMore: boolean }): void {
    if (this.#futile) {
      this.#futile = false;
      this.#session.outbox.caughtUp(this.id, this.#asked, false);
      void this.#enter(this.position);
      return;
    }
    if (this.#state !== "joining" || !this.#log.behind) return;
    for (const entry of messages) this.#take(entry, false);
    const caught = this.#log.page(hasMore);
    if (!caught) return;
    this.#state = "in";
    this.#join?.resolve();
    this.#join = undefined;
    this.#session.roomChanged();
    this.emit("caughtUp", { position: this.position as Position });
    this.#session.outbox.caughtUp(this.id, caught.from, caught.recovered);
  }

  #take(frame: ServerFrame, live: boolean): void {
    // Also what was seen before, where an earlier place was gone back to.
    const { id, user, seq, timestamp } = frame as Entry;
    if (id !== undefined && this.#session.isMe(user)) this.#session.outbox.logged(this.id, id, seq, timestamp);
    if (!this.#log.take(frame)) return;
    const event = read(this.id, frame, live);
    if (event) this.emit(event.type, event as never);
  }

  #exit(error: ParleyError): void {
    this.#state = "out";
    this.#log.interrupt();
    this.#join?.reject(error);
    this.#join = undefined;
    this.#session.outbox.fail(this.id, error);
    this.#session.roomChanged();
  }
}
