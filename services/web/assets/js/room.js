// What one room looks like from here: its messages in the order of seq, each
// once, edits and deletions folded in; what of it is unread; who is in it. Pure
// state: no sockets, timers or views.

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
  id;
  name;
  topic = "";
  visibility = "";
  persistent = false;
  /** Of a direct room: the other user, as far as is known, and whether this user has opened it. */
  peer = null;
  wanted = false;
  /** "joining", "joined", or "out" with a reason. */
  status = "joining";
  reason = "";
  memberCount = 0;
  members = new Map(); // user id → {id, username, role}
  moreMembers = false;
  /** {key, kind, at, time, …}; shown behind the message with seq `at`. */
  notices = [];
  /** {seq, id, user, content, data, timestamp, mine, edited, deleted, version}, ascending by seq. */
  messages = [];
  /** Messages that will not be sent by themselves: {id, content, data, writtenAt, reason}. */
  failed = [];
  /** Whether the log may hold messages before the first one here. */
  hasOlder = false;
  loadingOlder = false;
  /** Set by the view while its reader has scrolled back: nothing is dropped from the top. */
  reading = false;
  /** How far this user has read; null until that is known. */
  readSeq = null;
  /** Where what is new began when the room was looked at, or null. */
  divider = null;

  #beyond = 0; // unread ones that are not loaded
  #edits = new Map(); // target → {seq, content}
  #deleted = new Map(); // target → seq of the deletion
  #oldest = Infinity; // smallest seq of anything taken
  #typing = new Map(); // user id → {username, until}
  #noticeCount = 0;

  constructor(id, name = id) {
    this.id = id;
    this.name = name;
  }

  get isLobby() {
    return this.id === LOBBY;
  }

  get isDirect() {
    return this.id.startsWith("dm:");
  }

  /** Whether there is nothing to see: somebody has opened a direct room, and said nothing. */
  get isEmpty() {
    return this.isDirect && !this.wanted && this.messages.length === 0 && !this.hasOlder;
  }

  /** The seq to ask for older messages with; undefined where there is nothing yet. */
  get oldest() {
    return this.#oldest === Infinity ? undefined : this.#oldest;
  }

  get newest() {
    return this.messages.at(-1)?.seq ?? 0;
  }

  /** Messages of others behind the read mark. */
  get unread() {
    if (this.readSeq === null) return 0;
    let count = this.#beyond;
    for (let i = this.messages.length - 1; i >= 0 && this.messages[i].seq > this.readSeq; i--) {
      if (!this.messages[i].mine && !this.messages[i].deleted) count++;
    }
    return count;
  }

  /** The message with this seq, if it is here. */
  at(seq) {
    const message = this.messages[this.#indexOf(seq)];
    return message?.seq === seq ? message : undefined;
  }

  // ---- Coming and going -----------------------------------------------------

  /** The room is joined and nothing is missing. */
  caughtUp() {
    this.status = "joined";
    this.reason = "";
  }

  /** The session is not in the room any more; its messages stay readable. */
  out(reason) {
    this.status = "out";
    this.reason = reason;
    this.members.clear();
    this.#typing.clear();
  }

  /** The connection is gone. */
  interrupted() {
    this.loadingOlder = false;
    this.#typing.clear();
    if (this.status === "joined") this.status = "joining";
  }

  /** Throws the messages away, because the log went on without a link to them. */
  reset(why) {
    this.messages = [];
    this.notices = [];
    this.hasOlder = false;
    this.#oldest = Infinity;
    this.#edits.clear();
    this.#deleted.clear();
    this.notice({ kind: why, at: 0 });
  }

  // ---- What is read ---------------------------------------------------------

  /**
   * How far the user had read when the room was joined.
   * @param {number} seq
   * @param {number} [follow] how many entries of the log follow it
   */
  readUpTo(seq, follow = 0) {
    this.readSeq = Math.max(seq, this.readSeq ?? 0);
    const all = this.messages.length > 0 && this.messages[0].seq > this.readSeq && this.hasOlder;
    this.#beyond = all ? Math.max(0, follow - this.messages.length) : 0;
  }

  /** Everything that is here counts as read. True if that is news. */
  read({ divide = false } = {}) {
    if (this.readSeq === null || this.newest <= this.readSeq) return false;
    if (divide && this.unread > 0) this.divider = this.readSeq;
    this.readUpTo(this.newest);
    return true;
  }

  // ---- Messages -------------------------------------------------------------

  /**
   * Takes what the log has next, an event of the client's.
   * @returns {boolean} whether it was news
   */
  take(event, mine) {
    const news = this.#take(event, mine);
    // Who writes has read what is above, on whichever device.
    if (news && mine && event.type === "message" && this.readSeq !== null) this.readUpTo(event.seq);
    this.#trim();
    return news;
  }

  /** Takes a page from before `oldest`; each event with whether it is the user's own. */
  takeOlder(events, hasMore) {
    for (const [event, mine] of events) this.#take(event, mine);
    this.hasOlder = hasMore && events.length > 0;
  }

  #take(event, mine) {
    this.#oldest = Math.min(this.#oldest, event.seq);
    if (event.type === "edited") return this.#edit(event);
    if (event.type === "deleted") return this.#delete(event);
    const index = this.#indexOf(event.seq);
    if (this.messages[index]?.seq === event.seq) return false;
    const { seq, id, user, content, data, timestamp } = event;
    const message = { seq, id, user, content, data, timestamp, mine, edited: false, deleted: false, version: 0 };
    const edit = this.#edits.get(seq);
    if (edit) Object.assign(message, { content: edit.content, edited: true });
    if (this.#deleted.has(seq)) erase(message);
    this.messages.splice(index, 0, message);
    this.#typing.delete(user.id);
    return true;
  }

  #edit({ seq, target, content }) {
    const known = this.#edits.get(target);
    if (known && known.seq >= seq) return false;
    this.#edits.set(target, { seq, content });
    this.#change(target, (message) => Object.assign(message, { content, edited: true }));
    return true;
  }

  #delete({ seq, target }) {
    if (this.#deleted.has(target)) return false;
    this.#deleted.set(target, seq);
    this.#change(target, erase);
    return true;
  }

  // A message that changes has another version, so that a view can tell.
  #change(seq, change) {
    const message = this.at(seq);
    if (!message || message.deleted) return;
    change(message);
    message.version++;
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

  /** Somebody came (`joined`) or went (`left`). */
  roster(kind, { user, memberCount }) {
    if (kind === "joined") this.members.set(user.id, { role: "member", ...user });
    else this.members.delete(user.id);
    this.#typing.delete(user.id);
    this.memberCount = memberCount ?? this.memberCount;
    this.notice({ kind, user });
  }

  /** Takes the list of members, as far as it was read. */
  memberList(members, more) {
    this.members = new Map(members.map((member) => [member.id, member]));
    this.moreMembers = more;
    this.memberCount = Math.max(this.memberCount, members.length);
  }

  notice(notice) {
    this.notices.push({ key: `notice-${++this.#noticeCount}`, at: this.newest, ...notice });
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

function erase(message) {
  Object.assign(message, { content: undefined, data: undefined, deleted: true, edited: false });
}
