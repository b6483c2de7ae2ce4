// The chat on the client of /parley.js, whose own tests are in pkg/sdk-ts: here
// is what the page makes of it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { bob, me, message, online, setup, timestamp, turn } from "./gateway.js";

test("what is said is unread until somebody looks, and then the server is told, once for all", async (t) => {
  const { chat, socket, room, tick } = await online(t);
  assert.equal(room.unread, 0, "a room that is entered for the first time");
  chat.attend("lobby");
  socket.say(message(3));
  socket.say(message(4));
  assert.equal(room.unread, 2);
  chat.attend("r");
  assert.deepEqual([room.unread, room.divider], [0, 2]);
  socket.say(message(5));
  assert.equal(room.unread, 0);
  assert.equal(socket.has("mark-read"), false);
  tick(1000);
  await turn();
  assert.equal(socket.take("mark-read").seq, 5);
  chat.attend(null);
  socket.say(message(6));
  assert.equal(room.unread, 1, "nobody looks at a hidden page");
});

test("where the user has read on another device, it counts from there", async (t) => {
  const { chat, socket } = await online(t);
  chat.join("s");
  await socket.joined("s", { messages: [1, 2, 3].map((seq) => message(seq, { roomId: "s" })), readSeq: 1, unread: 2 });
  assert.equal(chat.rooms.get("s").unread, 2);
  socket.say(message(4, { roomId: "s", user: me, id: "from-the-phone" }));
  assert.equal(chat.rooms.get("s").unread, 0, "who writes there has read it there");
});

test("a lost connection is shown as it is, and what was written meanwhile is shown as waiting", async (t) => {
  const { chat, sockets, socket, room, tick } = await online(t);
  socket.end(1006);
  assert.deepEqual([chat.state, chat.retryAt, room.status], ["offline", Date.now() + 500, "joining"]);
  chat.write("r", "offline");
  await turn();
  assert.deepEqual(chat.pending("r").map(({ content }) => content), ["offline"]);
  tick(500);
  await turn();
  assert.equal(chat.state, "connecting");
  const [, back] = sockets;
  back.readyState = 1;
  back.say({ type: "welcome", heartbeatIntervalMs: 25_000, limits: {} });
  await turn();
  const place = { recovered: true, epoch: "e1", memberCount: 2 };
  await back.answer("resume", { type: "resumed", user: me, sessionId: "s", resumeToken: "x", rooms: { lobby: { ...place, seq: 0 }, r: { ...place, seq: 3 } } });
  assert.equal(chat.state, "recovering");
  back.say({ type: "message-history", roomId: "lobby", messages: [], hasMore: false });
  back.say({ type: "message-history", roomId: "r", messages: [message(3)], hasMore: false });
  await turn();
  assert.deepEqual([chat.state, room.status, room.unread], ["online", "joined", 1]);
  await back.answer("chat-message", { type: "ack", roomId: "r", seq: 4, timestamp, duplicate: false });
  assert.deepEqual(chat.pending("r"), []);
});

test("a message that is refused stays, and can be sent again or thrown away", async (t) => {
  const { chat, socket, room } = await online(t);
  chat.write("r", "a", { replyTo: 2 });
  await turn();
  const { id, data } = socket.sent.find(({ type }) => type === "chat-message");
  assert.deepEqual(data, { replyTo: 2 });
  await socket.answer("chat-message", { type: "error", code: "muted", message: "you are muted" });
  assert.deepEqual(room.failed.map(({ content, reason }) => [content, reason.code]), [["a", "muted"]]);
  chat.again("r", id);
  await turn();
  assert.deepEqual(room.failed, []);
  assert.deepEqual([socket.take("chat-message").id, socket.has("chat-message")], [id, false]);
});

test("a room that cannot be joined is said and not kept; one that the user is put out of stays to be read", async (t) => {
  const { chat, socket, room, notices } = await online(t);
  chat.join("secret");
  await socket.answer("join-room", { type: "error", code: "forbidden", message: "this room is private" });
  assert.equal(chat.rooms.has("secret"), false);
  assert.deepEqual(notices, [{ kind: "error", code: "forbidden", text: "this room is private", room: "secret" }]);
  socket.say({ type: "kicked", roomId: "r", reason: "spam" });
  assert.deepEqual([room.status, room.reason, room.messages.length], ["out", { code: "kicked", text: "spam" }, 2]);
  chat.join("r");
  assert.equal((await socket.joined("r", { recovered: true })).after, 2);
  assert.equal(room.status, "joined");
});

test("scrolling back loads what is older, once at a time", async (t) => {
  const { chat, socket, room } = await online(t);
  room.hasOlder = true;
  chat.older("r");
  chat.older("r");
  await turn();
  const edit = { type: "message-edited", roomId: "r", seq: 2, user: bob, target: 1, content: "better", timestamp };
  const asked = await socket.answer("get-history", { type: "message-history", roomId: "r", messages: [edit], hasMore: false });
  assert.deepEqual(asked, { type: "get-history", roomId: "r", limit: 50, before: 1 });
  assert.deepEqual([socket.has("get-history"), room.hasOlder, room.at(1).content], [false, false, "better"]);
});

test("a room that was left and is entered again has its messages", async (t) => {
  const { chat, socket } = await online(t);
  chat.leave("r");
  await turn();
  await socket.answer("leave-room", { type: "room-left", roomId: "r" });
  chat.join("r");
  await socket.joined("r", { recovered: true, seq: 2 });
  const room = chat.rooms.get("r");
  assert.deepEqual([room.messages, room.hasOlder, room.oldest], [[], true, undefined]);
  chat.older("r");
  await turn();
  await socket.answer("get-history", { type: "message-history", roomId: "r", messages: [message(1), message(2)], hasMore: false });
  assert.deepEqual(room.messages.map(({ seq }) => seq), [1, 2]);
});

test("a direct room is found when somebody has written there, and called after them", async (t) => {
  const { chat, socket } = await online(t);
  const found = chat.discover();
  await turn();
  await socket.answer("get-rooms", { type: "rooms-list", rooms: [{ id: "dm:x", name: "dm:x", memberCount: 0 }, { id: "dm:y", name: "dm:y", memberCount: 0 }], nextCursor: "" });
  await found;
  await socket.joined("dm:x", { messages: [message(1, { roomId: "dm:x" })] });
  await socket.joined("dm:y");
  const [x, y] = ["dm:x", "dm:y"].map((id) => chat.rooms.get(id));
  assert.deepEqual([x.peer, x.unread, x.isEmpty], [bob, 1, false]);
  assert.equal(y.isEmpty, true, "nobody has said anything there");
  socket.say({ type: "invited", roomId: "dm:z", user: bob });
  await turn();
  await socket.joined("dm:z");
  socket.say(message(1, { roomId: "dm:z" }));
  assert.equal(chat.rooms.get("dm:z").unread, 1, "opened and written to meanwhile");
  const opened = chat.direct(bob);
  await turn();
  await socket.answer("open-direct", { type: "direct-opened", roomId: "dm:y" });
  assert.equal(await opened, "dm:y");
  assert.deepEqual([y.peer, y.isEmpty], [bob, false]);
});

test("typing, roster and statuses are told", async (t) => {
  const { chat, socket, room } = await online(t);
  socket.say({ type: "signal", roomId: "r", event: "typing", user: bob });
  assert.deepEqual(room.typing(), ["bob"]);
  socket.say({ type: "user-joined", roomId: "r", user: bob, memberCount: 3, timestamp });
  assert.deepEqual([room.memberCount, room.members.has("u2")], [3, true]);
  socket.say({ type: "presence", user: bob, status: "busy", text: "at work" });
  assert.deepEqual(chat.statuses.get("u2"), { status: "busy", text: "at work" });
  socket.say({ type: "from-the-future", roomId: "r" });
  socket.onmessage({ data: "{" });
  assert.equal(chat.state, "online");
});

test("who is signed out somewhere else has to sign in; a defect waits for the user", async (t) => {
  const { chat, socket, ends, tick, sockets } = await online(t);
  socket.end(1009);
  assert.deepEqual([ends, chat.ended, chat.retryAt], [[{ code: "defect", signIn: false }], "defect", 0]);
  tick(600_000);
  await turn();
  assert.equal(sockets.length, 1);
  chat.retryNow();
  await turn();
  assert.equal(chat.ended, null);
  sockets[1].end(4001);
  assert.deepEqual(ends[1], { code: "revoked", signIn: true });
});

test("nobody signed in any more is the end; a server out of reach is not", async (t) => {
  const answers = [() => Promise.reject(new Error("out of reach")), () => null];
  const { chat, sockets, ends, tick } = setup(t, { getToken: async () => answers.shift()() });
  await turn();
  assert.equal(chat.retryAt, Date.now() + 500);
  tick(500);
  await turn();
  assert.deepEqual([sockets.length, ends], [0, [{ code: "unauthenticated", signIn: true }]]);
});
