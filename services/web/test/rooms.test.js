import assert from "node:assert/strict";
import { test } from "node:test";
import { Room } from "../assets/js/rooms.js";

const ann = { id: "u1", username: "ann" };
const message = (seq, more = {}) => ({
  type: "chat-message",
  roomId: "r",
  seq,
  user: ann,
  content: `m${seq}`,
  timestamp: "2026-01-02T03:04:05.000Z",
  ...more,
});
const live = (room, seq, prev = seq - 1, more = {}) => room.live(message(seq, { prev, ...more }));
const seqs = (room) => room.messages.map(({ seq }) => seq);

/** A room joined for the first time that holds these. */
function joined(...held) {
  const room = new Room("r");
  room.joined({ epoch: "e1", seq: held.at(-1) ?? 0, memberCount: 1, recovered: false });
  room.addPage(held.map((seq) => message(seq)));
  assert.ok(room.settle());
  return room;
}

test("live messages move the position and are counted once", () => {
  const room = joined(1, 2);
  assert.deepEqual(live(room, 3), { fresh: true, hole: false });
  assert.deepEqual(live(room, 3), { fresh: false, hole: false });
  assert.deepEqual(live(room, 2), { fresh: false, hole: false });
  assert.deepEqual(seqs(room), [1, 2, 3]);
  assert.deepEqual(room.place, { after: 3, epoch: "e1" });
});

test("a smaller prev is no hole", () => {
  const room = joined(1, 2, 3);
  assert.equal(live(room, 9, 1).hole, false);
  assert.equal(room.position, 9);
});

test("a hole keeps the position until it is filled", () => {
  const room = joined(1);
  assert.deepEqual(live(room, 5, 4), { fresh: true, hole: true });
  assert.deepEqual(live(room, 6, 5), { fresh: true, hole: false });
  assert.equal(room.place.after, 1);
  assert.ok(room.behind);
  room.addPage([message(2), message(4), message(5)]);
  assert.ok(room.settle());
  assert.deepEqual(seqs(room), [1, 2, 4, 5, 6]);
  assert.equal(room.place.after, 6);
});

test("what is still missing after a page is still a hole", () => {
  const room = joined(1);
  live(room, 5, 4);
  room.addPage([message(2)]);
  assert.equal(room.settle(), false);
  assert.equal(room.place.after, 2);
  assert.ok(room.settle({ force: true }));
  assert.equal(room.place.after, 5);
});

test("any order of pages, live messages and acks ends in the same room", () => {
  for (let seed = 1; seed <= 100; seed++) {
    let state = seed;
    const random = (n) => (state = (state * 48271) % 2147483647) % n;
    const room = joined(1, 2, 3);
    room.interrupted();
    assert.equal(room.joined({ epoch: "e1", recovered: true }), true);
    // 4–12 were missed, 13–20 come live, in order, while the pages are read.
    const pages = [[4, 5, 6], [7, 8, 9, 10], [11, 12, 13]];
    let next = 13;
    while (pages.length > 0 || next <= 20) {
      const choice = random(3);
      if (choice === 0 && pages.length > 0) room.addPage(pages.shift().map((seq) => message(seq)));
      if (choice === 1 && next <= 20) live(room, next++);
      if (choice === 2) {
        const seq = 4 + random(17);
        room.acked({ seq, content: `m${seq}`, user: ann, timestamp: "2026-01-02T03:04:05.000Z" });
        assert.ok(room.position === null || room.position <= 13, "an ack must not move the position");
      }
    }
    assert.ok(room.settle());
    for (let seq = 4; seq <= 20; seq++) assert.ok(seqs(room).includes(seq), `seed ${seed} lost ${seq}`);
    assert.deepEqual(seqs(room), [...new Set(seqs(room))].sort((a, b) => a - b), `seed ${seed}`);
    assert.equal(room.position, 20);
  }
});

test("another epoch, or a log that dropped messages, begins anew and says so", () => {
  const room = joined(1, 2);
  assert.equal(room.joined({ epoch: "e2", recovered: false }), false);
  assert.deepEqual(seqs(room), []);
  assert.equal(room.place, null);
  assert.equal(room.notices[0].kind, "renewed");
  room.addPage([message(1, { content: "new" })]);
  room.settle();
  assert.equal(room.messages[0].content, "new");
  assert.equal(room.place.epoch, "e2");

  room.joined({ epoch: "e2", recovered: false, oldestSeq: 900 });
  assert.equal(room.notices[0].kind, "missed");
});

test("an interrupted room does not take live messages for a continuation", () => {
  const room = joined(1, 2);
  room.interrupted();
  assert.equal(live(room, 30, 29).hole, false);
  assert.equal(room.place.after, 2);
});

test("older pages go in front and tell where to go on", () => {
  const room = joined(10, 11);
  assert.equal(room.oldest, 10);
  room.addOlder([message(7), message(9)], true);
  assert.deepEqual(seqs(room), [7, 9, 10, 11]);
  assert.equal(room.oldest, 7);
  assert.equal(room.hasOlder, true);
  assert.equal(room.place.after, 11);
  room.addOlder([], true);
  assert.equal(room.hasOlder, false);
});

test("edits and deletions are folded, whichever comes first", () => {
  const room = joined(10, 11, 12);
  const before = room.messages[0];
  live(room, 13, 12, { type: "message-edited", target: 10, content: "better" });
  assert.equal(room.messages[0].content, "better");
  assert.notEqual(room.messages[0], before, "a changed message is another object");
  live(room, 14, 13, { type: "message-deleted", target: 11, content: undefined });
  assert.equal(room.messages[1].deleted, true);
  assert.equal(room.messages[1].content, undefined);
  // An edit whose target is loaded only later.
  live(room, 15, 14, { type: "message-edited", target: 5, content: "second" });
  room.addOlder([message(5), message(6, { type: "message-edited", target: 5, content: "first" })], false);
  assert.deepEqual(seqs(room), [5, 10, 11, 12]);
  assert.equal(room.messages[0].content, "second");
  assert.equal(room.place.after, 15);
});

test("the lobby's chat has the same shape as any message", () => {
  const room = new Room("lobby");
  room.addPage([]);
  room.settle();
  room.live({ type: "chat", user: "bob", message: "<b>hi</b>", seq: 4, timestamp: "2026-01-02T03:04:05.000Z" });
  assert.deepEqual(room.messages[0].user, { id: "", username: "bob" });
  assert.equal(room.messages[0].content, "<b>hi</b>");
});

test("what is kept is bounded, and the rest can be loaded again", () => {
  const room = joined(1);
  for (let seq = 2; seq <= 5000; seq++) live(room, seq);
  assert.ok(room.messages.length <= 750, room.messages.length);
  assert.equal(room.hasOlder, true);
  assert.equal(room.oldest, room.messages[0].seq);
  for (let i = 0; i < 1000; i++) room.roster({ type: "user-joined", user: { id: `x${i}`, username: "x" }, memberCount: i });
  assert.ok(room.notices.length <= 100);
});

test("members come, go and are counted", () => {
  const room = joined();
  room.memberPage({ members: [{ ...ann, role: "owner" }], nextCursor: "c" }, { first: true });
  room.roster({ type: "user-joined", user: { id: "u2", username: "bob" }, memberCount: 2 });
  assert.equal(room.members.get("u2").role, "member");
  room.roster({ type: "user-left", user: { id: "u2", username: "bob" }, memberCount: 1 });
  assert.deepEqual([...room.members.keys()], ["u1"]);
  assert.deepEqual(room.notices.map(({ kind }) => kind), ["joined", "left"]);
});

test("typing fades, and ends with the message", () => {
  const room = joined();
  room.typed(ann, 1000);
  assert.deepEqual(room.typing(2000), ["ann"]);
  assert.deepEqual(room.typing(7000), []);
  room.typed(ann);
  live(room, 1, 0);
  assert.deepEqual(room.typing(), []);
});
