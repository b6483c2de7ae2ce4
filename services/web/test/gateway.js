// The other end of the page's socket, played by a test by the protocol page, on
// a clock that only the test moves.

import assert from "node:assert/strict";
import { Chat } from "../assets/js/chat.js";
import { fakeClock } from "../../../pkg/sdk-ts/test/clock.js";
import "./platform.js";

export const me = { id: "u1", username: "ann", roles: [] };
export const bob = { id: "u2", username: "bob" };
export const timestamp = "2026-01-02T03:04:05.000Z";

/** Until everything has run that is due. */
export const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A message of bob's, as it comes live. */
export const message = (seq, more = {}) => ({ type: "chat-message", roomId: "r", seq, prev: seq - 1, user: bob, content: `m${seq}`, timestamp, ...more });

/** A chat whose sockets are the test's. */
export function setup(t, { rooms = [], getToken = async () => "token" } = {}) {
  const tick = fakeClock(t, 1_000_000);
  const sockets = [];
  class Socket {
    readyState = 0;
    sent = [];
    constructor() {
      sockets.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close() {
      this.readyState = 3;
    }
    say(frame) {
      this.onmessage?.({ data: JSON.stringify(frame) });
    }
    end(code) {
      this.readyState = 3;
      this.onclose?.({ code });
    }
    has(type) {
      return this.sent.some((frame) => frame.type === type);
    }
    /** The oldest request of a type that was not taken yet. */
    take(type, roomId) {
      const index = this.sent.findIndex((frame) => frame.type === type && (roomId === undefined || frame.roomId === roomId));
      assert.notEqual(index, -1, `no ${type} among ${JSON.stringify(this.sent)}`);
      return this.sent.splice(index, 1)[0];
    }
    /** Answers a request, and gives it. */
    async answer(type, reply, roomId) {
      const { id, ...request } = this.take(type, roomId);
      this.say({ id, ...reply });
      await turn();
      return request;
    }
    async accept() {
      this.readyState = 1;
      this.say({ type: "welcome", heartbeatIntervalMs: 25_000, limits: {} });
      await turn();
      await this.answer("auth", { type: "auth-success", user: me, sessionId: "s", resumeToken: "resume" });
    }
    async joined(roomId, { messages = [], recovered = false, seq = messages.at(-1)?.seq ?? 0, ...more } = {}) {
      const { id, ...request } = this.take("join-room", roomId);
      this.say({ type: "room-joined", id, roomId, memberCount: 2, seq, epoch: "e1", recovered, ...more });
      this.say({ type: "message-history", id, roomId, messages, hasMore: false });
      await turn();
      return request;
    }
  }
  const chat = new Chat({ url: "ws://host/ws", getToken, WebSocket: Socket, random: () => 0.5 });
  const ends = [];
  chat.addEventListener("stopped", ({ detail }) => ends.push(detail));
  const notices = [];
  chat.addEventListener("notice", ({ detail }) => notices.push(detail));
  chat.start(me, rooms);
  t.after(() => chat.stop());
  return { chat, sockets, ends, notices, tick };
}

/** A chat that is online in the lobby and in room r, with m1 and m2 read. */
export async function online(t, options) {
  const all = setup(t, { rooms: [{ id: "r" }], ...options });
  await turn();
  const [socket] = all.sockets;
  await socket.accept();
  await socket.joined("lobby");
  await socket.joined("r", { messages: [message(1), message(2)] });
  assert.equal(all.chat.state, "online");
  return { ...all, socket, room: all.chat.rooms.get("r") };
}
