// The client over sockets whose other end the test plays, by the protocol
// page, on a clock that only the test moves.

import assert from "node:assert/strict";
import { test } from "node:test";
import { me, message, online, setup, timestamp, turn } from "./gateway.js";

const place = (seq, more = {}) => ({ recovered: true, seq, epoch: "e1", memberCount: 2, ...more });

test("a lost connection is resumed where it was, and nothing comes twice or is left out", async (t) => {
  const { client, sockets, socket, room, got, states, tick } = await online(t);
  socket.say(message(3));
  const first = room.send("mine");
  await turn();
  const { id } = socket.take("chat-message");
  socket.end(1006);
  assert.equal(client.state, "offline");
  assert.equal(client.retryAt, Date.now() + 500);
  const second = room.send("written offline");
  assert.deepEqual(room.pending.map(({ content }) => content), ["mine", "written offline"]);
  tick(500);
  await turn();
  await sockets[1].greet();
  assert.equal(sockets[1].has("auth"), false, "a resume needs no token");
  const { id: asked, ...request } = sockets[1].take("resume");
  assert.deepEqual(request, { type: "resume", resumeToken: "resume-1", rooms: { r: { seq: 3, epoch: "e1" } } });
  sockets[1].say({ type: "resumed", id: asked, user: me, sessionId: "s", resumeToken: "resume-2", rooms: { r: place(6) } });
  sockets[1].say({ type: "message-history", roomId: "r", messages: [message(4)], hasMore: true });
  await turn();
  assert.equal(client.state, "recovering");
  assert.equal(sockets[1].has("chat-message"), false, "nothing is sent into a room that is not caught up");
  sockets[1].say({ type: "message-history", roomId: "r", messages: [message(4), message(6)], hasMore: false });
  sockets[1].say(message(7, { prev: 6 }));
  sockets[1].say(message(7, { prev: 6 }));
  await turn();
  assert.deepEqual(got, [1, 2, 3, 4, 6, 7]);
  assert.equal(client.state, "online");
  assert.deepEqual(states, ["connecting", "recovering", "online", "offline", "connecting", "recovering", "online"]);

  const again = await sockets[1].acked(8, { duplicate: true });
  assert.equal(again.id, id, "the same message under the same id");
  assert.deepEqual(await first, { id, seq: 8, timestamp, duplicate: true, durability: "file" });
  assert.equal((await sockets[1].acked(9)).content, "written offline");
  assert.equal((await second).seq, 9);
  assert.deepEqual(room.pending, []);
});

test("a message that was stored before the connection broke is not sent again", async (t) => {
  const { sockets, socket, room, got, tick } = await online(t);
  const sent = room.send("mine");
  await turn();
  const { id } = socket.take("chat-message");
  socket.end(1006);
  tick(500);
  await turn();
  await sockets[1].greet();
  await sockets[1].resumed({ r: place(3) }, { r: [message(3, { id, user: me })] });
  assert.deepEqual(await sent, { id, seq: 3, timestamp, duplicate: true });
  assert.equal(sockets[1].has("chat-message"), false);
  assert.deepEqual(got, [1, 2, 3]);
});

test("somebody else's message under our id is not taken for ours", async (t) => {
  const { socket, room } = await online(t);
  room.send("mine");
  await turn();
  const [{ id }] = room.pending;
  socket.say(message(3, { id }));
  await turn();
  assert.equal(room.pending.length, 1);
});

test("messages of a room go one after the other, as they were written", async (t) => {
  const { socket, room, tick } = await online(t);
  const sent = ["one", "two", "three"].map((content) => room.send(content));
  await turn();
  assert.equal(socket.take("chat-message").content, "one");
  assert.equal(socket.has("chat-message"), false);
  socket.sent = [];
  socket.say({ type: "error", id: room.pending[0].id, code: "rate-limited", message: "slow down", retryAfterMs: 700 });
  await turn();
  tick(699);
  await turn();
  assert.equal(socket.has("chat-message"), false);
  tick(1);
  await turn();
  for (const [index, content] of ["one", "two", "three"].entries()) assert.equal((await socket.acked(index + 3)).content, content);
  assert.deepEqual((await Promise.all(sent)).map(({ seq }) => seq), [3, 4, 5]);
});

test("a message that is refused says why, and does not hold up the next", async (t) => {
  const { socket, room } = await online(t);
  const failures = [];
  room.on("failed", ({ message, error }) => failures.push([message.content, error.code]));
  const refused = room.send("bad");
  const next = room.send("good");
  await turn();
  socket.say({ type: "error", id: socket.take("chat-message").id, code: "muted", message: "you are muted" });
  await assert.rejects(refused, { name: "ParleyError", code: "muted" });
  await turn();
  await socket.acked(3);
  assert.equal((await next).seq, 3);
  assert.deepEqual(failures, [["bad", "muted"]]);
});

test("what was tried too long ago is looked for in the log before it is sent again", async (t) => {
  const cases = {
    "is there": { recovered: true, stored: true },
    "is not there": { recovered: true, stored: false },
    "nobody knows": { recovered: false, stored: false },
  };
  for (const what in cases) {
    await t.test(what, async (t) => {
      const { recovered, stored } = cases[what];
      const { client, sockets, socket, room, tick } = await online(t);
      const sent = room.send("mine");
      await turn();
      const { id } = socket.take("chat-message");
      socket.end(1006);
      // No gateway for longer than ids are remembered.
      for (let i = 0; i < 6; i++) {
        tick(30_000);
        await turn();
        sockets.at(-1).end(1006);
      }
      client.retryNow();
      await turn();
      const back = sockets.at(-1);
      await back.greet();
      await back.resumed({ r: place(2, { recovered }) }, { r: stored ? [message(3, { id, user: me })] : [] });
      if (stored) assert.equal((await sent).seq, 3);
      else if (!recovered) await assert.rejects(sent, { code: "unknown-outcome" });
      else assert.equal((await back.acked(3)).id, id);
      assert.equal(back.has("chat-message"), false);
    });
  }
});

test("what an earlier page left is sent by who wrote it, and looked for where it is old", async (t) => {
  const kept = (more) => ({ roomId: "r", writtenAt: 1, userId: "u1", ...more });
  const old = { triedAt: 1, triedFrom: { seq: 1, epoch: "e1" } };
  const left = [
    kept({ id: "old", content: "old", ...old }),
    kept({ id: "other", content: "of somebody else", userId: "u2", writtenAt: 2 }),
    kept({ id: "new", content: "new", writtenAt: 3 }),
  ];
  const store = { open: async (found) => found(left), put: async () => {}, deleted: [], delete: async (id) => void store.deleted.push(id), close() {} };
  const { socket, room, got } = await online(t, { outbox: store });
  await turn();
  assert.equal(socket.has("chat-message"), false);
  const asked = await socket.joined({ recovered: true, messages: [message(2), message(3, { id: "old", user: me })] });
  assert.deepEqual([asked.after, asked.epoch], [1, "e1"], "from where it was tried");
  assert.deepEqual(got, [1, 2, 3]);
  assert.equal((await socket.acked(4)).id, "new");
  assert.deepEqual(store.deleted, ["old", "new"]);
  assert.deepEqual(room.pending.map(({ id }) => id), ["other"]);
});

test("messages of the same moment are kept in an order that a later page knows", async (t) => {
  const kept = [];
  const store = { open: async () => {}, put: async (waiting) => void kept.push(waiting), delete: async () => {}, close() {} };
  const { room } = await online(t, { outbox: store });
  for (const content of ["a", "b", "c"]) room.send(content);
  await turn();
  const times = ["a", "b", "c"].map((content) => kept.find((waiting) => waiting.content === content).writtenAt);
  assert.ok(times[0] < times[1] && times[1] < times[2], times.join());
});

test("where the log has forgotten what an earlier page tried, the room goes on from where it was", async (t) => {
  const old = { id: "old", content: "old", roomId: "r", writtenAt: 1, userId: "u1", triedAt: 1, triedFrom: { seq: 1, epoch: "e1" } };
  const store = { open: async (found) => found([old]), put: async () => {}, delete: async () => {}, close() {} };
  const failures = [];
  const { client, socket, got, gaps } = await online(t, { outbox: store });
  client.on("failed", ({ error }) => failures.push(error.code));
  await turn();
  await socket.joined({ recovered: false, oldestSeq: 2, messages: [message(3)] });
  assert.deepEqual(failures, ["unknown-outcome"]);
  const asked = await socket.joined({ recovered: true, messages: [message(3), message(4)] });
  assert.equal(asked.after, 2);
  assert.deepEqual([got, gaps, client.state], [[1, 2, 3, 4], [], "online"]);
});

test("a hole is filled from the log before anything behind it is delivered", async (t) => {
  const { socket, got } = await online(t);
  socket.say(message(9, { prev: 8 }));
  socket.say(message(10, { prev: 9 }));
  await turn();
  assert.deepEqual(got, [1, 2]);
  const asked = await socket.joined({ recovered: true, messages: [message(5), message(8), message(9), message(10)] });
  assert.deepEqual([asked.after, asked.epoch], [2, "e1"]);
  socket.say(message(11, { prev: 10 }));
  assert.deepEqual(got, [1, 2, 5, 8, 9, 10, 11]);
});

test("what the log does not have any more is told as a gap", async (t) => {
  const { sockets, socket, got, gaps, tick } = await online(t);
  socket.end(1006);
  tick(500);
  await turn();
  await sockets[1].greet();
  await sockets[1].resumed({ r: place(52, { recovered: false, oldestSeq: 40 }) }, { r: [message(51), message(52)] });
  assert.deepEqual(gaps, [{ reason: "retention", oldestSeq: 40 }]);
  assert.deepEqual(got, [1, 2, 51, 52]);

  sockets[1].end(1006);
  tick(1000);
  await turn();
  await sockets[2].greet();
  await sockets[2].resumed({ r: place(3, { recovered: false, oldestSeq: 1, epoch: "e2" }) }, { r: [message(1), message(3)] });
  assert.deepEqual(gaps[1], { reason: "epoch", oldestSeq: 1 });
  assert.deepEqual(got, [1, 2, 51, 52, 1, 3], "an old seq means nothing in a new log");
});

test("a resume that fails goes on with a token and joins from the position", async (t) => {
  const { client, sockets, socket, tokens, got, tick } = await online(t);
  socket.end(1006);
  tick(500);
  await turn();
  await sockets[1].greet();
  sockets[1].answer("resume", { type: "error", code: "resume-failed", message: "expired" });
  await turn();
  assert.equal(tokens.length, 2);
  sockets[1].answer("auth", { type: "auth-success", user: me, sessionId: "s", resumeToken: "resume-2" });
  await turn();
  const asked = await sockets[1].joined({ recovered: true, messages: [message(3)] });
  assert.deepEqual([asked.after, asked.epoch], [2, "e1"]);
  assert.deepEqual(got, [1, 2, 3]);
  assert.equal(client.state, "online");
});

test("rooms that a resume refuses are left, or joined anew where that may help", async (t) => {
  const { client, sockets, socket, room, tick } = await online(t);
  const other = client.room("q");
  other.join();
  await turn();
  await socket.joined();
  const outs = [];
  room.on("out", ({ code }) => outs.push(code));
  socket.end(1006);
  tick(500);
  await turn();
  await sockets[1].greet();
  await sockets[1].resumed({ r: { error: "banned" }, q: { error: "unavailable" } });
  assert.deepEqual(outs, ["banned"]);
  assert.equal(room.joined, false);
  assert.equal((await sockets[1].joined({ recovered: true })).roomId, "q");
  assert.equal(client.state, "online");
});

test("a join that is refused rejects; one that can not be for a while is patient", async (t) => {
  const { client, socket, tick } = await online(t);
  const no = client.room("secret").join();
  await turn();
  socket.answer("join-room", { type: "error", code: "forbidden", message: "no" });
  await assert.rejects(no, { code: "forbidden" });
  const later = client.room("later").join();
  await turn();
  socket.answer("join-room", { type: "error", code: "unavailable", message: "wait", retryAfterMs: 300 });
  await turn();
  tick(300);
  await turn();
  await socket.joined();
  await later;
});

test("failed attempts wait longer and longer; only a signed-in connection that held begins anew", async (t) => {
  const { client, sockets, socket, tick } = await online(t);
  socket.end(1006);
  for (const delay of [500, 1000, 2000, 4000, 8000, 15_000, 15_000]) {
    assert.equal(client.retryAt - Date.now(), delay);
    tick(delay);
    await turn();
    sockets.at(-1).end(1006);
  }
  client.retryNow();
  await turn();
  await sockets.at(-1).greet();
  await sockets.at(-1).resumed({ r: place(2) }, { r: [] });
  tick(9999);
  sockets.at(-1).end(1006);
  assert.equal(client.retryAt - Date.now(), 15_000, "it did not hold");
  client.retryNow();
  await turn();
  await sockets.at(-1).greet();
  await sockets.at(-1).resumed({ r: place(2) }, { r: [] });
  tick(10_000);
  sockets.at(-1).end(1006);
  assert.equal(client.retryAt - Date.now(), 500);
});

test("going-away is obeyed", async (t) => {
  const { client, sockets, socket, tick } = await online(t);
  socket.say({ type: "going-away", reconnectInMs: 4000 });
  socket.end(1001);
  assert.equal(client.retryAt, Date.now() + 4500);
  tick(4500);
  await turn();
  assert.equal(sockets.length, 2);
});

test("close codes that end the session are told and not retried", async (t) => {
  for (const [code, why] of [[1000, "closed"], [1009, "defect"], [1008, "policy"], [4001, "revoked"], [4003, "disabled"], [4050, "terminated"]]) {
    await t.test(String(code), async (t) => {
      const { client, sockets, socket, ends, tick } = await online(t);
      socket.end(code);
      tick(600_000);
      await turn();
      assert.deepEqual([client.state, ends, sockets.length], ["idle", [why], 1]);
    });
  }
});

test("a refused token is worth one newer one", async (t) => {
  const { client, sockets, tokens, ends, tick } = setup(t);
  const connected = client.connect();
  for (let round = 0; round < 2; round++) {
    await turn();
    await sockets[round].greet();
    sockets[round].answer("auth", { type: "auth-failed", code: "unauthenticated", message: "expired" });
    sockets[round].end(1008);
    tick(1000);
  }
  await assert.rejects(connected, { code: "unauthenticated" });
  assert.deepEqual(tokens, [{}, { refused: "token-1" }]);
  assert.deepEqual(ends, ["unauthenticated"]);
});

test("a token that is about to end is replaced on the same connection", async (t) => {
  const { client, sockets, socket, tokens } = await online(t);
  socket.say({ type: "token-expiring", expiresAt: timestamp });
  await turn();
  assert.deepEqual(tokens[1], { refused: "token-1" });
  const { token } = socket.answer("auth", { type: "auth-success", user: me, sessionId: "s", resumeToken: "resume-9" });
  assert.equal(token, "token-2");
  await turn();
  assert.deepEqual([client.state, sockets.length], ["online", 1]);
});

test("an expired token (4203) comes back with a newer one", async (t) => {
  const { sockets, socket, tokens, got, tick } = await online(t);
  socket.end(4203);
  tick(1000);
  await turn();
  assert.deepEqual(tokens[1], { refused: "token-1" });
  await sockets[1].accept();
  assert.equal((await sockets[1].joined({ recovered: true, messages: [message(3)] })).after, 2);
  assert.deepEqual(got, [1, 2, 3]);
});

test("nobody signed in ends it; a token that can not be had now is waited for", async (t) => {
  let answer = () => Promise.reject(new Error("the sign-in page is down"));
  const { client, sockets, ends, tick } = setup(t, { getToken: () => answer() });
  client.connect();
  await turn();
  assert.equal(client.state, "offline");
  answer = () => null;
  tick(1000);
  await turn();
  assert.deepEqual([client.state, ends, sockets.length], ["idle", ["unauthenticated"], 0]);
});

test("without a token the client is a guest", async (t) => {
  const { client, sockets } = setup(t, { getToken: undefined });
  const connected = client.connect();
  await turn();
  await sockets[0].greet();
  const { id } = sockets[0].take("get-room-info");
  sockets[0].say({ type: "auth-success", user: { id: "guest:1", username: "Guest-1", roles: ["guest"] }, sessionId: "s", resumeToken: "g" });
  sockets[0].say({ type: "room-info", id, roomId: "lobby", exists: true, memberCount: 0 });
  await connected;
  assert.equal(client.user.id, "guest:1");
});

test("a connection that says nothing is asked, and given up when it does not answer", async (t) => {
  const { client, socket, tick } = await online(t);
  tick(25_000);
  assert.equal(socket.has("ping"), false);
  tick(5000);
  socket.answer("ping", { type: "pong", timestamp });
  await turn();
  assert.equal(client.state, "online");
  tick(30_000);
  assert.ok(socket.has("ping"));
  tick(10_000);
  await turn();
  assert.equal(client.state, "offline");
});

test("requests wait for a connection; those that read are asked again after a loss", async (t) => {
  const { client, sockets, tick } = setup(t);
  const page = client.room("r").history({ limit: 2 });
  await turn();
  await sockets[0].accept();
  sockets[0].take("get-history");
  sockets[0].end(1006);
  tick(500);
  await turn();
  await sockets[1].greet();
  await sockets[1].resumed({});
  sockets[1].answer("get-history", { type: "message-history", roomId: "r", messages: [message(1), message(2)], hasMore: true });
  const { messages, hasMore } = await page;
  assert.deepEqual([messages.map(({ content }) => content), hasMore], [["m1", "m2"], true]);
});

test("a listener that throws is nobody else's trouble", async (t) => {
  const { socket, room } = await online(t);
  const reported = [];
  const { queueMicrotask } = globalThis;
  globalThis.queueMicrotask = (report) => reported.push(report);
  t.after(() => (globalThis.queueMicrotask = queueMicrotask));
  const got = [];
  room.on("message", () => {
    throw new Error("ours");
  });
  const off = room.on("message", ({ seq }) => got.push(seq));
  socket.say(message(3));
  assert.throws(reported[0], { message: "ours" });
  off();
  assert.deepEqual(got, [3]);
});

test("for await gives every message from then on, and ends with the client", async (t) => {
  const { client, socket, room } = await online(t);
  const messages = room.messages();
  socket.say(message(3));
  socket.say(message(4));
  const got = [];
  const reading = (async () => {
    for await (const { seq } of messages) got.push(seq);
  })();
  await turn();
  socket.say(message(5));
  await turn();
  client.close();
  await reading;
  assert.deepEqual(got, [3, 4, 5]);
  assert.equal(socket.closedWith, 1000);
});

test("a room is left for good, and what waits there is told", async (t) => {
  const { client, sockets, socket, room, got, tick } = await online(t);
  const unsent = room.send("too late");
  await turn();
  const left = room.leave();
  await assert.rejects(unsent, { code: "left" });
  await turn();
  socket.answer("leave-room", { type: "room-left", roomId: "r" });
  await left;
  socket.say(message(3));
  socket.end(1006);
  tick(500);
  await turn();
  await sockets[1].greet();
  assert.deepEqual(sockets[1].take("resume").rooms, {});
  assert.deepEqual(got, [1, 2]);
  assert.equal([...client.rooms].length, 1);
});

test("a frame that is too large is not sent, for it would end the connection", async (t) => {
  const { client, socket, room } = await online(t);
  await assert.rejects(room.send("é".repeat(40_000)), { code: "too-large" });
  assert.equal(client.state, "online");
  assert.equal(socket.has("chat-message"), false);
});

test("an outbox is full at some point", async (t) => {
  const { room } = await online(t);
  for (let i = 0; i < 1000; i++) room.send("x");
  await assert.rejects(room.send("x"), { code: "outbox-full" });
});

/** What a browser has that tells of sight and network. */
function browser(t) {
  const page = Object.assign(new EventTarget(), { hidden: false });
  const window = new EventTarget();
  Object.assign(globalThis, { document: page, window });
  t.after(() => {
    delete globalThis.document;
    delete globalThis.window;
  });
  return {
    window,
    look(hidden) {
      page.hidden = hidden;
      page.dispatchEvent(new Event("visibilitychange"));
    },
  };
}

test("a page that nobody looks at sends nothing, and asks when it is seen again", async (t) => {
  const { look } = browser(t);
  const { client, socket, got, tick } = await online(t);
  look(true);
  const before = socket.count;
  tick(3_600_000);
  socket.say(message(3));
  assert.deepEqual([socket.count, got, client.state], [before, [1, 2, 3], "online"]);
  look(false);
  socket.take("ping");
  tick(4000);
  await turn();
  assert.equal(client.state, "offline", "the connection had died meanwhile");
});

test("a lost connection of a hidden page is tried rarely, and at once when it is seen", async (t) => {
  const { look } = browser(t);
  const { client, sockets, socket, tick } = await online(t);
  look(true);
  socket.end(1006);
  assert.equal(client.retryAt - Date.now(), 30_000);
  tick(29_000);
  await turn();
  assert.equal(sockets.length, 1);
  look(false);
  await turn();
  assert.equal(sockets.length, 2);
});

test("a hidden page that pauses lets go of its connection, and comes back where it was", async (t) => {
  const { look } = browser(t);
  const { client, sockets, socket, got, tick } = await online(t, { whenHidden: "pause" });
  look(true);
  tick(29_999);
  look(false);
  tick(60_000);
  socket.answer("ping", { type: "pong", timestamp });
  assert.equal(client.state, "online", "a short look elsewhere is none");
  look(true);
  tick(30_000);
  assert.deepEqual([client.state, socket.closedWith, client.retryAt], ["offline", 3000, Infinity]);
  tick(3_600_000);
  await turn();
  assert.equal(sockets.length, 1);
  look(false);
  await turn();
  await sockets[1].greet();
  await sockets[1].resumed({ r: place(3) }, { r: [message(3)] });
  assert.deepEqual([got, client.state], [[1, 2, 3], "online"]);
});

test("a sleep is noticed by the clock", async (t) => {
  const { client, socket, tick } = await online(t);
  const { now } = Date;
  Date.now = () => now() + 10 * 60_000;
  t.after(() => (Date.now = now));
  tick(5000);
  assert.ok(socket.has("ping"));
  tick(4000);
  await turn();
  assert.equal(client.state, "offline");
});

test("another network is noticed", async (t) => {
  const { window } = browser(t);
  const { client, sockets, socket, tick } = await online(t);
  window.dispatchEvent(new Event("offline"));
  socket.answer("ping", { type: "pong", timestamp });
  await turn();
  tick(4000);
  assert.equal(client.state, "online");
  window.dispatchEvent(new Event("online"));
  assert.ok(socket.has("ping"));
  tick(4000);
  await turn();
  assert.equal(client.state, "offline");
  window.dispatchEvent(new Event("online"));
  await turn();
  assert.equal(sockets.length, 2, "a waiting client tries at once");
});
