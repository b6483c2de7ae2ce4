// The connection and the chat over sockets whose other end the test plays, by
// the protocol page, on a clock that only the test moves.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Chat } from "../assets/js/chat.js";
import { ApiError, SignedOut } from "../assets/js/session.js";
import { fakeClock } from "../../../pkg/sdk-ts/test/clock.js";
import "./platform.js";

const me = { id: "u1", username: "ann", roles: [] };
const time = "2026-01-02T03:04:05.000Z";

/** @param {import("node:test").TestContext} t */
function setup(t, { rooms = [], token = async () => "token-1" } = {}) {
  const tick = fakeClock(t, 1_000_000);
  const sockets = [];
  class Socket {
    readyState = 0;
    sent = [];
    constructor(url, protocols) {
      assert.equal(url, "ws://host/ws");
      assert.deepEqual(protocols, ["parley.v1.json"]);
      sockets.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close(code) {
      this.readyState = 3;
      this.closedWith ??= code;
    }
    // What the server does.
    say(frame) {
      this.onmessage?.({ data: JSON.stringify(frame) });
    }
    end(code) {
      this.readyState = 3;
      this.onclose?.({ code });
    }
    /** The oldest request of a type that was not taken yet. */
    take(type) {
      const index = this.sent.findIndex((frame) => frame.type === type);
      assert.notEqual(index, -1, `no ${type} among ${this.sent.map((frame) => frame.type)}`);
      return this.sent.splice(index, 1)[0];
    }
    has(type) {
      return this.sent.some((frame) => frame.type === type);
    }
    greet() {
      this.readyState = 1;
      this.say({ type: "welcome", heartbeatIntervalMs: 25_000, limits: {} });
    }
    accept() {
      this.greet();
      this.say({ type: "auth-success", id: this.take("auth").id, user: me });
    }
  }
  const tokens = [];
  const chat = new Chat({
    url: "ws://host/ws",
    token: (how) => {
      tokens.push(how);
      return token(how);
    },
    WebSocket: Socket,
    random: () => 0.5,
  });
  const ends = [];
  chat.addEventListener("stopped", ({ detail }) => ends.push(detail));
  const notices = [];
  chat.addEventListener("notice", ({ detail }) => notices.push(detail.text));
  chat.start(me, rooms);
  t.after(() => chat.stop());
  return { chat, sockets, tokens, ends, notices, tick };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const message = (seq, more = {}) => ({ type: "chat-message", roomId: "r", seq, user: { id: "u2", username: "bob" }, content: `m${seq}`, timestamp: time, ...more });

async function lobbyIs(socket, messages = [], epoch = "e") {
  socket.say({ type: "room-info", id: socket.take("get-room-info").id, roomId: "lobby", exists: true, epoch });
  await turn();
  const { id, ...asked } = socket.take("get-history");
  socket.say({ type: "message-history", id, roomId: "lobby", messages, hasMore: false });
  await turn();
  return asked;
}

async function joinIs(socket, { messages = [], recovered = false, epoch = "e1" } = {}) {
  const { id, ...asked } = socket.take("join-room");
  socket.say({ type: "room-joined", id, roomId: "r", memberCount: 2, seq: 0, epoch, recovered });
  socket.say({ type: "message-history", id, roomId: "r", messages, hasMore: false });
  await turn();
  return asked;
}

/** A chat that is online in the lobby and in room r. */
async function online(t, options) {
  const all = setup(t, { rooms: ["r"], ...options });
  await turn();
  assert.equal(all.chat.state, "connecting");
  const [socket] = all.sockets;
  socket.accept();
  await turn();
  assert.equal(all.chat.state, "recovering");
  await lobbyIs(socket);
  await joinIs(socket, { messages: [message(1), message(2)] });
  assert.equal(all.chat.state, "online");
  return { ...all, socket, room: all.chat.rooms.get("r") };
}

test("a lost connection comes back to where it was, and nothing is lost", async (t) => {
  const { chat, sockets, socket, room, tick } = await online(t);
  socket.say(message(3, { prev: 2 }));
  chat.write("r", "mine");
  const first = socket.take("chat-message");
  socket.end(1006);
  await turn();
  assert.equal(chat.state, "offline");
  assert.equal(chat.retryAt, Date.now() + 500);
  chat.write("r", "written offline");
  tick(500);
  await turn();
  sockets[1].accept();
  await turn();
  await lobbyIs(sockets[1]);
  const { id, ...asked } = sockets[1].take("join-room");
  assert.deepEqual(asked, { type: "join-room", roomId: "r", history: 50, after: 3, epoch: "e1" });
  sockets[1].say({ type: "room-joined", id, roomId: "r", memberCount: 2, seq: 6, epoch: "e1", recovered: true });
  sockets[1].say({ type: "message-history", id, roomId: "r", messages: [message(4)], hasMore: true });
  sockets[1].say({ type: "message-history", id, roomId: "r", messages: [message(6)], hasMore: false });
  sockets[1].say(message(7, { prev: 6 }));
  await turn();
  assert.equal(chat.state, "online");
  assert.deepEqual(room.messages.map(({ seq }) => seq), [1, 2, 3, 4, 6, 7]);
  assert.equal(room.place.after, 7);
  assert.equal(room.unread, 4);

  const again = sockets[1].take("chat-message");
  assert.deepEqual(again, first, "the same message with the same id");
  sockets[1].say({ type: "ack", id: again.id, roomId: "r", seq: 8, timestamp: time, duplicate: false });
  sockets[1].say(message(8, { prev: 7, id: again.id, user: me, content: "mine" }));
  await turn();
  assert.equal(sockets[1].take("chat-message").content, "written offline");
  assert.equal(room.messages.filter(({ content }) => content === "mine").length, 1);
  assert.equal(room.unread, 4);
});

test("a message that was stored before the connection broke is not sent again", async (t) => {
  const { chat, sockets, socket, tick } = await online(t);
  chat.write("r", "mine");
  const { id } = socket.take("chat-message");
  socket.end(1006);
  tick(500);
  await turn();
  sockets[1].accept();
  await turn();
  await joinIs(sockets[1], { recovered: true, messages: [message(3, { id, user: me, content: "mine" })] });
  assert.deepEqual(chat.outbox.of("r"), []);
  assert.equal(sockets[1].has("chat-message"), false);
});

test("the lobby is caught up through its history", async (t) => {
  const { chat, sockets, socket, tick } = await online(t);
  socket.say({ type: "chat", user: "bob", message: "hi", seq: 5, prev: 0, timestamp: time });
  socket.end(1006);
  tick(500);
  await turn();
  sockets[1].accept();
  await turn();
  sockets[1].say({ type: "chat", user: "bob", message: "live", seq: 9, prev: 7, timestamp: time });
  const lobby = chat.rooms.get("lobby");
  assert.equal(lobby.place.after, 5, "a live message is no proof that nothing is missing before it");
  const asked = await lobbyIs(sockets[1], [{ type: "chat-message", roomId: "lobby", seq: 7, user: { id: "u2", username: "bob" }, content: "missed", timestamp: time }]);
  assert.deepEqual(asked, { type: "get-history", roomId: "lobby", after: 5, limit: 200 });
  assert.deepEqual(lobby.messages.map(({ seq }) => seq), [5, 7, 9]);
  assert.equal(lobby.place.after, 9);
});

test("a hole in the live stream is filled from the log", async (t) => {
  const { socket, room } = await online(t);
  socket.say(message(9, { prev: 8 }));
  await turn();
  const { id, ...asked } = socket.take("get-history");
  assert.deepEqual(asked, { type: "get-history", roomId: "r", after: 2, limit: 200 });
  socket.say({ type: "message-history", id, roomId: "r", messages: [message(5), message(8), message(9)], hasMore: false });
  await turn();
  assert.deepEqual(room.messages.map(({ seq }) => seq), [1, 2, 5, 8, 9]);
  assert.equal(room.behind, false);
});

test("somebody else's message never answers a request of ours", async (t) => {
  const { chat, socket } = await online(t);
  const entry = chat.write("r", "mine");
  socket.say(message(3, { prev: 2, id: entry.id, content: "same id" }));
  await turn();
  assert.equal(chat.outbox.of("r").length, 1);
  assert.equal(chat.rooms.get("r").messages.at(-1).content, "same id");
});

test("1001 waits for the hint, then resumes", async (t) => {
  const { chat, sockets, socket, tick } = await online(t);
  socket.say({ type: "going-away", reconnectInMs: 4000 });
  socket.end(1001);
  assert.equal(chat.retryAt, Date.now() + 4500);
  tick(4499);
  await turn();
  assert.equal(sockets.length, 1);
  tick(1);
  await turn();
  assert.equal(sockets.length, 2);
});

test("failed attempts wait longer and longer, and a connection that held begins anew", async (t) => {
  const { chat, sockets, socket, tick } = await online(t);
  socket.end(1006);
  for (const delay of [500, 1000, 2000, 4000, 8000, 15_000, 15_000]) {
    assert.equal(chat.retryAt - Date.now(), delay);
    tick(delay);
    await turn();
    sockets.at(-1).end(1006);
  }
  chat.retryNow();
  await turn();
  sockets.at(-1).accept();
  tick(10_000);
  sockets.at(-1).end(1006);
  assert.equal(chat.retryAt - Date.now(), 500);
});

test("a connection that goes silent is given up after an unanswered ping", async (t) => {
  const { chat, socket, tick } = await online(t);
  tick(25_000);
  assert.equal(socket.has("ping"), false);
  tick(5000);
  socket.say({ type: "pong", id: socket.take("ping").id, timestamp: time });
  await turn();
  assert.equal(chat.state, "online");
  tick(30_000);
  assert.ok(socket.has("ping"));
  tick(10_000);
  await turn();
  assert.equal(chat.state, "offline");
  assert.notEqual(socket.closedWith, 1000, "1000 would end the session");
});

test("an opening that hangs is given up", async (t) => {
  const { chat, sockets, tick } = setup(t);
  await turn();
  sockets[0].greet();
  tick(15_000);
  await turn();
  assert.equal(chat.state, "offline");
  assert.ok(chat.retryAt > 0);
});

test("a refused token is renewed once, then the user has to sign in", async (t) => {
  const { sockets, tokens, ends, tick } = setup(t, { token: async ({ refused }) => (refused ? "token-2" : "token-1") });
  await turn();
  for (const socket of [0, 1]) {
    sockets[socket].greet();
    const auth = sockets[socket].take("auth");
    assert.equal(auth.token, `token-${socket + 1}`);
    sockets[socket].say({ type: "auth-failed", id: auth.id, code: "unauthenticated", message: "expired" });
    sockets[socket].end(1008);
    tick(1000);
    await turn();
  }
  assert.equal(tokens[1].refused, "token-1");
  assert.equal(sockets.length, 2);
  assert.equal(ends.length, 1);
  assert.equal(ends[0].signIn, true);
});

test("terminal closes stop, 4203 comes back with a new token", async (t) => {
  const { chat, sockets, tokens, ends, socket, tick } = await online(t);
  socket.end(4203);
  tick(1000);
  await turn();
  assert.equal(tokens[1].refused, "token-1");
  sockets[1].accept();
  await turn();
  sockets[1].end(4001);
  assert.equal(chat.state, "offline");
  assert.equal(chat.retryAt, 0);
  assert.equal(ends[0].signIn, true);
});

test("after a stop only the user begins again", async (t) => {
  const { chat, sockets, socket, ends, tick } = await online(t);
  socket.end(1009);
  assert.equal(ends[0].signIn, false);
  assert.ok(chat.ended);
  tick(600_000);
  await turn();
  assert.equal(sockets.length, 1);
  chat.retryNow();
  await turn();
  assert.equal(chat.ended, "");
  sockets[1].accept();
  await turn();
  assert.equal(sockets[1].take("join-room").after, 2);
});

test("no token: out of reach is tried again, signed out is not", async (t) => {
  let answer = new ApiError(0, "unreachable", "The server cannot be reached.");
  const { chat, sockets, ends, tick } = setup(t, {
    token: async () => {
      throw answer;
    },
  });
  await turn();
  assert.equal(chat.retryAt, Date.now() + 500);
  answer = new SignedOut();
  tick(500);
  await turn();
  assert.equal(sockets.length, 0);
  assert.equal(ends[0].signIn, true);
});

test("a room that cannot be joined is said and not tried for ever; one that is unavailable is", async (t) => {
  const { chat, socket, notices, tick } = await online(t);
  chat.join("secret");
  socket.say({ type: "error", id: socket.take("join-room").id, code: "forbidden", message: "this room is private" });
  await turn();
  assert.equal(chat.rooms.has("secret"), false);
  assert.deepEqual(notices, ["secret: this room is private"]);

  chat.join("slow");
  socket.say({ type: "error", id: socket.take("join-room").id, code: "unavailable", message: "later", retryAfterMs: 700 });
  await turn();
  assert.equal(chat.state, "recovering");
  tick(700);
  await turn();
  assert.ok(socket.has("join-room"));
});

test("in the room though its log is out of reach: chatting goes on", async (t) => {
  const { chat, socket } = await online(t);
  chat.join("r2");
  const { id } = socket.take("join-room");
  socket.say({ type: "room-joined", id, roomId: "r2", memberCount: 1, seq: 0, epoch: "e", recovered: false });
  socket.say({ type: "error", id, code: "unavailable", message: "the log is out of reach", retryAfterMs: 1000 });
  await turn();
  assert.equal(chat.rooms.get("r2").status, "joined");
  assert.equal(chat.state, "recovering");
  chat.write("r2", "hello");
  assert.equal(socket.take("chat-message").content, "hello");
});

test("kicked and deleted rooms are left alone after a reconnect", async (t) => {
  const { chat, sockets, socket, tick } = await online(t);
  socket.say({ type: "kicked", roomId: "r", reason: "spam" });
  assert.equal(chat.rooms.get("r").status, "out");
  socket.end(1006);
  tick(500);
  await turn();
  sockets[1].accept();
  await turn();
  assert.equal(sockets[1].has("join-room"), false);
});

test("scrolling back loads what is older, once at a time", async (t) => {
  const { chat, socket } = await online(t);
  const room = chat.rooms.get("r");
  room.hasOlder = true;
  chat.older("r");
  chat.older("r");
  const { id, ...asked } = socket.take("get-history");
  assert.deepEqual(asked, { type: "get-history", roomId: "r", before: 1, limit: 50 });
  assert.equal(socket.has("get-history"), false);
  socket.say({ type: "message-history", id, roomId: "r", messages: [], hasMore: false });
  await turn();
  assert.equal(room.hasOlder, false);
});

test("batches are opened, unknown types and broken frames are passed over", async (t) => {
  const { chat, socket } = await online(t);
  socket.say({ type: "message-batch", roomId: "r", messages: [message(3, { prev: 2 }), message(4, { prev: 3 })] });
  socket.say({ type: "from-the-future", roomId: "r" });
  socket.say(null);
  socket.say([]);
  socket.onmessage({ data: "{" });
  assert.equal(chat.rooms.get("r").newest, 4);
  assert.equal(chat.state, "online");
});
