// What one room looks like from here: its messages in the order of seq, each
// once, edits and deletions folded in; how far its log is known without holes;
// who is in it. Pure state: no sockets, timers or views.

/** The built-in room that every session belongs to. */
export const LOBBY = "lobby";

/** How many messages a room keeps; more while its reader has scrolled back. */
const KEEP = 600;
const KEEP_READING = 5000;

/** Notices (joined, left, …) kept per room, and typing signals. */
const MAX_NOTICES = 100;
const MAX_TYPING = 20;

/** A typing signal is good for this long. */
const TYPING_MS = 5000;

export class Room {
  /** "joining", "joined", or "out" with a reason. */
  status = "joining";
  reason = "";
  memberCount = 0;
  members = new Map(); // user id → {id, username, role}
  membersCursor = ""; // where the rest of the members begins
  /** {key, kind, at, time, …}; shown behind the message with seq `at`. */
  notices = [];
  messages = []; // ascending by seq
  epoch;
  /** The seq up to which nothing is missing here; null before the first page. */
  position = null;
  /** A hole after `position` is known or possible, and is being filled. */
  behind = true;
  /** Whether the log may hold messages before the first one here. */
  hasOlder = false;
  loadingOlder = false;
  unread = 0;
  /** Set by the view while its reader has scrolled back: nothing is dropped from the top. */
  reading = false;
  /** When the messages were last thrown away for newer ones, in milliseconds since 1970. */
  resetAt = 0;

  #ahead = []; // {seq, prev} of live messages that came while behind
  #edits = new Map(); // target → {seq, content}
  #deleted = new Map(); // target → seq of the deletion
  #oldest = Infinity; // smallest seq of any frame in the pages loaded
  #typing = new Map(); // user id → {username, until}
  #noticeCount = 0;

  constructor(id, name = id) {
    this.id = id;
    this.name = name;
  }

  get isLobby() {
    return this.id === LOBBY;
  }

  /** What join-room takes to continue where this room stands. */
  get place() {
    return this.position === null ? null : { after: this.position, epoch: this.epoch };
  }

  /** The seq to ask for older messages with. */
  get oldest() {
    return this.#oldest;
  }

  get newest() {
    return this.messages.at(-1)?.seq ?? 0;
  }

  // ---- Coming and going -----------------------------------------------------

  /**
   * Takes a room-joined. True if what is here goes on from where it was, false
   * if newer messages will take its place.
   */
  joined(frame, now = Date.now()) {
    const known = this.position !== null;
    const goesOn = known && frame.recovered === true && (!this.epoch || frame.epoch === this.epoch);
    if (known && !goesOn) {
      const renewed = this.epoch && frame.epoch !== this.epoch;
      this.reset(renewed ? "renewed" : "missed", now);
    }
    this.epoch = frame.epoch;
    this.memberCount = frame.memberCount ?? this.memberCount;
    this.status = "joined";
    this.reason = "";
    this.behind = true;
    return goesOn;
  }

  /** The session is not in the room any more; its messages stay readable. */
  out(reason) {
    this.status = "out";
    this.reason = reason;
    this.members.clear();
    this.#typing.clear();
  }

  /** The connection is gone: from here on there may be a hole. */
  interrupted() {
    this.behind = true;
    this.loadingOlder = false;
    this.#typing.clear();
    if (this.status === "joined") this.status = "joining";
  }

  /** Throws the messages away, because the log went on without a link to them. */
  reset(why, now = Date.now()) {
    this.messages = [];
    this.notices = [];
    this.position = null;
    this.hasOlder = false;
    this.resetAt = now;
    this.#oldest = Infinity;
    this.#edits.clear();
    this.#deleted.clear();
    this.notice({ kind: why, at: 0 });
  }

  // ---- Messages -------------------------------------------------------------

  /**
   * Takes a live frame of the log.
   * @returns {{fresh: boolean, hole: boolean}} fresh: not seen before; hole:
   *   something before it is missing, so catching up is needed
   */
  live(frame) {
    if (this.position !== null && frame.seq <= this.position) return { fresh: false, hole: false };
    const fresh = this.#take(frame);
    if (this.behind) {
      this.#ahead.push({ seq: frame.seq, prev: frame.prev ?? 0 });
      // Bounded: what is dropped here, the pages being read bring again.
      if (this.#ahead.length > 1000) this.#ahead.shift();
      return { fresh, hole: false };
    }
    if (this.#follows(frame.prev ?? 0)) {
      this.position = frame.seq;
      this.#trim();
      return { fresh, hole: false };
    }
    this.behind = true;
    this.#ahead.push({ seq: frame.seq, prev: frame.prev });
    return { fresh, hole: true };
  }

  /**
   * Takes a page that goes on from `position` (or the newest page, if there is none).
   * @returns {object[]} the messages that were new here
   */
  addPage(frames, { mayHaveOlder = false } = {}) {
    const first = this.position === null;
    const added = this.#takeAll(frames);
    const last = frames.at(-1)?.seq ?? 0;
    this.position = Math.max(this.position ?? 0, last);
    if (first) this.hasOlder = mayHaveOlder;
    this.#trim();
    return added;
  }

  /** Takes a page from before `oldest`. */
  addOlder(frames, hasMore) {
    this.#takeAll(frames);
    this.hasOlder = hasMore && frames.length > 0;
  }

  /**
   * After the last page: links the live messages that came meanwhile.
   * @param {{force?: boolean}} [how] force: also those with a hole before them,
   *   because the log does not have what is missing any more
   * @returns {boolean} true if no hole is left
   */
  settle({ force = false } = {}) {
    const ahead = this.#ahead.sort((a, b) => a.seq - b.seq);
    while (ahead.length > 0 && (force || this.#follows(ahead[0].prev))) {
      this.position = Math.max(this.position ?? 0, ahead.shift().seq);
    }
    this.behind = ahead.length > 0;
    return !this.behind;
  }

  /** Takes our own message as its ack describes it. It says nothing of what lies before it. */
  acked(message) {
    this.#take({ type: "chat-message", ...message });
  }

  // prev smaller than the position is normal: something between was erased.
  #follows(prev) {
    return prev <= (this.position ?? 0);
  }

  #takeAll(frames) {
    const added = [];
    for (const frame of frames) {
      this.#oldest = Math.min(this.#oldest, frame.seq);
      if (this.#take(frame) && isMessage(frame)) added.push(frame);
    }
    return added;
  }

  /** Puts one frame of the log where it belongs; false if it was there already. */
  #take(frame) {
    if (!Number.isSafeInteger(frame.seq)) return false;
    if (frame.type === "message-edited") return this.#edit(frame);
    if (frame.type === "message-deleted") return this.#delete(frame);
    if (!isMessage(frame)) return false;

    const index = this.#indexOf(frame.seq);
    if (this.messages[index]?.seq === frame.seq) return false;
    this.#oldest = Math.min(this.#oldest, frame.seq);
    const message = readMessage(frame);
    const edit = this.#edits.get(frame.seq);
    if (edit) Object.assign(message, { content: edit.content, edited: true });
    if (this.#deleted.has(frame.seq)) erase(message);
    this.messages.splice(index, 0, message);
    this.#typing.delete(message.user.id);
    return true;
  }

  #edit({ seq, target, content }) {
    const known = this.#edits.get(target);
    if (known && known.seq >= seq) return false;
    this.#edits.set(target, { seq, content });
    this.#replace(target, (message) => Object.assign(message, { content, edited: true }));
    return true;
  }

  #delete({ seq, target }) {
    if (this.#deleted.has(target)) return false;
    this.#deleted.set(target, seq);
    this.#replace(target, erase);
    return true;
  }

  // A message that changes becomes another object, so that a view can tell by ===.
  #replace(seq, change) {
    const index = this.#indexOf(seq);
    const message = this.messages[index];
    if (message?.seq !== seq || message.deleted) return;
    this.messages[index] = change({ ...message });
  }

  /** Index of the first message whose seq is not smaller. */
  #indexOf(seq) {
    let low = 0;
    let high = this.messages.length;
    // Nearly all messages come at the end.
    if (high === 0 || this.messages[high - 1].seq < seq) return high;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.messages[middle].seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #trim() {
    const keep = this.reading ? KEEP_READING : KEEP;
    // Some slack, so that this does not happen with every message.
    if (this.messages.length <= keep + keep / 4) return;
    this.messages.splice(0, this.messages.length - keep);
    this.hasOlder = true;
    this.#oldest = this.messages[0].seq;
    this.notices = this.notices.filter((notice) => notice.at >= this.#oldest);
    // These come again with the pages that hold them.
    for (const [target, edit] of this.#edits) if (edit.seq < this.#oldest) this.#edits.delete(target);
    for (const [target, seq] of this.#deleted) if (seq < this.#oldest) this.#deleted.delete(target);
  }

  // ---- People ---------------------------------------------------------------

  /** Takes a user-joined or user-left. */
  roster(frame) {
    const came = frame.type === "user-joined";
    if (came) this.members.set(frame.user.id, { role: "member", ...frame.user });
    else this.members.delete(frame.user.id);
    this.#typing.delete(frame.user.id);
    this.memberCount = frame.memberCount ?? this.memberCount;
    this.notice({ kind: came ? "joined" : "left", user: frame.user, time: frame.timestamp });
  }

  /** Takes a page of room-members; the first one replaces what is known. */
  memberPage({ members, nextCursor }, { first }) {
    if (first) this.members.clear();
    for (const member of members) this.members.set(member.id, member);
    this.membersCursor = nextCursor ?? "";
    this.memberCount = Math.max(this.memberCount, this.members.size);
  }

  notice(notice) {
    this.notices.push({
      key: `notice-${++this.#noticeCount}`,
      at: this.newest,
      time: new Date().toISOString(),
      ...notice,
    });
    if (this.notices.length > MAX_NOTICES) this.notices.shift();
  }

  typed(user, now = Date.now()) {
    if (!this.#typing.has(user.id) && this.#typing.size >= MAX_TYPING) return;
    this.#typing.set(user.id, { username: user.username, until: now + TYPING_MS });
  }

  /** Usernames of who is typing now. */
  typing(now = Date.now()) {
    for (const [id, { until }] of this.#typing) if (until <= now) this.#typing.delete(id);
    return [...this.#typing.values()].map(({ username }) => username);
  }
}

function isMessage({ type }) {
  return type === undefined || type === "chat-message" || type === "room-message" || type === "chat";
}

/** One shape for chat-message, room-message and the lobby's chat (where user is the bare username). */
function readMessage({ seq, id, user, content, message, data, timestamp }) {
  const author = typeof user === "object" && user !== null ? user : { id: "", username: String(user ?? "") };
  return { seq, id, user: author, content: content ?? message, data, timestamp };
}

function erase(message) {
  return Object.assign(message, { content: undefined, data: undefined, deleted: true, edited: false });
}
