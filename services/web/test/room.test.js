import assert from "node:assert/strict";
import { test } from "node:test";
import { Room } from "../assets/js/room.js";

const ann = { id: "u1", username: "ann" };
const bob = { id: "u2", username: "bob" };
const message = (seq, more = {}) => ({
  type: "message",
  seq,
  user: bob,
  content: `m${seq}`,
  timestamp: new Date("2026-01-02T03:04:05Z"),
  ...more,
});
const seqs = (room) => room.messages.map(({ seq }) => seq);

/** A room that holds these, all read. */
function holding(...held) {
  const room = new Room("r");
  for (const seq of held) room.take(message(seq), false);
  room.caughtUp();
  room.readUpTo(held.at(-1) ?? 0);
  return room;
}

test("what comes is counted once, and the page before it goes in front", () => {
  const room = holding(10, 11);
  assert.equal(room.take(message(11), false), false);
  assert.equal(room.take(message(12), false), true);
  room.takeOlder([[message(7), false], [message(9), true]], true);
  assert.deepEqual(seqs(room), [7, 9, 10, 11, 12]);
  assert.deepEqual([room.oldest, room.hasOlder], [7, true]);
  room.takeOlder([], true);
  assert.equal(room.hasOlder, false);
});

test("edits and deletions are folded, whichever comes first", () => {
  const room = holding(10, 11, 12);
  const { version } = room.at(10);
  room.take({ ...message(13), type: "edited", target: 10, content: "better" }, false);
  assert.deepEqual([room.at(10).content, room.at(10).edited], ["better", true]);
  assert.notEqual(room.at(10).version, version, "a changed message has another version");
  room.take({ ...message(14), type: "deleted", target: 11 }, false);
  assert.deepEqual([room.at(11).deleted, room.at(11).content], [true, undefined]);
  // An edit whose target is loaded only later.
  room.take({ ...message(15), type: "edited", target: 5, content: "second" }, false);
  room.takeOlder([[message(5), false], [{ ...message(6), type: "edited", target: 5, content: "first" }, false]], false);
  assert.deepEqual(seqs(room), [5, 10, 11, 12]);
  assert.equal(room.at(5).content, "second");
});

test("what others say is unread until it is read; what the user says has been", () => {
  const room = holding(1, 2);
  room.take(message(3), false);
  room.take(message(4), false);
  room.take({ ...message(5), type: "deleted", target: 4 }, false);
  assert.equal(room.unread, 1, "what is deleted need not be read");
  room.take(message(6, { user: ann }), true);
  assert.equal(room.unread, 0, "who writes, on whichever device, has read what is above");
  room.take(message(7), false);
  assert.equal(room.read({ divide: true }), true);
  assert.deepEqual([room.unread, room.divider], [0, 6]);
  assert.equal(room.read(), false, "no news");
});

test("unread messages that are not loaded are counted, too", () => {
  const room = new Room("r");
  for (let seq = 51; seq <= 100; seq++) room.take(message(seq), false);
  assert.equal(room.unread, 0, "nobody knows before the mark has come");
  room.hasOlder = true;
  room.caughtUp();
  room.readUpTo(20, 80);
  assert.equal(room.unread, 80);
  room.read();
  assert.equal(room.unread, 0);
});

test("a log that went on without a link begins anew, and says so", () => {
  const room = holding(1, 2);
  room.reset("renewed");
  assert.deepEqual([seqs(room), room.notices[0].kind], [[], "renewed"]);
  room.take(message(1, { content: "new" }), false);
  assert.equal(room.messages[0].content, "new");
});

test("what is kept is bounded, and the rest can be loaded again", () => {
  const room = holding(1);
  for (let seq = 2; seq <= 5000; seq++) room.take(message(seq), false);
  assert.ok(room.messages.length <= 750, room.messages.length);
  assert.deepEqual([room.hasOlder, room.oldest], [true, room.messages[0].seq]);
  for (let i = 0; i < 1000; i++) room.roster("joined", { user: { id: `x${i}`, username: "x" }, memberCount: i });
  assert.ok(room.notices.length <= 100);
});

test("members come, go and are counted", () => {
  const room = holding();
  room.memberList([{ ...ann, role: "owner" }], false);
  room.roster("joined", { user: bob, memberCount: 2 });
  assert.equal(room.members.get("u2").role, "member");
  room.roster("left", { user: bob, memberCount: 1 });
  assert.deepEqual([...room.members.keys()], ["u1"]);
  assert.deepEqual(room.notices.map(({ kind }) => kind), ["joined", "left"]);
});

test("typing fades, and ends with the message", () => {
  const room = holding();
  room.typed(bob, 1000);
  assert.deepEqual(room.typing(2000), ["bob"]);
  assert.deepEqual(room.typing(7000), []);
  room.typed(bob);
  room.take(message(1), false);
  assert.deepEqual(room.typing(), []);
});
