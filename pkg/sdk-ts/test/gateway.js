// The other end of the client's socket, played by a test by the protocol page.

import { Parley } from "../dist/index.js";
import { fakeClock } from "./clock.js";
import "./platform.js";
import assert from "node:assert/strict";

export const me = { id: "u1", username: "ann", roles: [] };
export const bob = { id: "u2", username: "bob" };
export const timestamp = "2026-01-02T03:04:05.000Z";

/** A message of bob's in room r, as it comes live. */
export const message = (seq, more = {}) => ({ type: "chat-message", roomId: "r", seq, prev: seq - 1, user: bob, content: `m${seq}`, timestamp, ...more });

/** Until everything has run that is due. */
export const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A client whose sockets are the test's, on a clock that only the test moves. */
export function setup(t, options = {}) {
  const tick = fakeClock(t, 1_000_000);
  const sockets = [];
  class Socket {
    readyState = 0;
    sent = [];
    count = 0;
    constructor(url, protocols) {
      assert.equal(url, "ws://host/ws");
      assert.deepEqual(protocols, ["parley.v1.json"]);
      sockets.push(this);
    }
    send(text) {
      this.count++;
      this.sent.push(JSON.parse(text));
    }
    close(code) {
      this.readyState = 3;
      this.closedWith ??= code;
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
    take(type) {
      const index = this.sent.findIndex((frame) => frame.type === type);
      assert.notEqual(index, -1, `no ${type} among ${this.sent.map((frame) => frame.type)}`);
      return this.sent.splice(index, 1)[0];
    }
    /** Answers the oldest request of a type, and gives it. */
    answer(type, reply) {
      const { id, ...request } = this.take(type);
      this.say({ id, ...reply });
      return request;
    }
    async greet() {
      this.readyState = 1;
      this.say({ type: "welcome", heartbeatIntervalMs: 25_000, limits: { maxFrameBytes: 65_536 } });
      await turn();
    }
    async accept(user = me) {
      await this.greet();
      this.answer("auth", { type: "auth-success", user, sessionId: "s", resumeToken: "resume-1" });
      await turn();
    }
    /** Answers a join, with what follows. */
    async joined({ messages = [], recovered = false, epoch = "e1", seq = messages.at(-1)?.seq ?? 0, hasMore = false, ...more } = {}) {
      const { id, ...request } = this.take("join-room");
      this.say({ type: "room-joined", id, roomId: request.roomId, memberCount: 2, seq, epoch, recovered, ...more });
      this.say({ type: "message-history", id, roomId: request.roomId, messages, hasMore });
      await turn();
      return request;
    }
    /** Answers a resume, with the pages that follow. */
    async resumed(rooms, pages = {}) {
      const { id, ...request } = this.take("resume");
      this.say({ type: "resumed", id, user: me, sessionId: "s", resumeToken: "resume-2", rooms });
      for (const roomId in pages) this.say({ type: "message-history", roomId, messages: pages[roomId], hasMore: false });
      await turn();
      return request;
    }
    async acked(seq, more = {}) {
      const request = this.take("chat-message");
      this.say({ type: "ack", id: request.id, roomId: request.roomId, seq, timestamp, duplicate: false, durability: "file", ...more });
      await turn();
      return request;
    }
  }
  const tokens = [];
  const client = new Parley("http://host", {
    getToken: (why) => {
      tokens.push(why);
      return `token-${tokens.length}`;
    },
    WebSocket: Socket,
    random: () => 0.5,
    ...options,
  });
  t.after(() => client.close());
  const states = [];
  client.on("state", (state) => states.push(state));
  const ends = [];
  client.on("ended", (error) => ends.push(error.code));
  return { client, sockets, tokens, states, ends, tick };
}

/** A client that is online in room r, with m1 and m2 delivered. */
export async function online(t, options) {
  const all = setup(t, options);
  const room = all.client.room("r");
  const got = [];
  room.on("message", (event) => got.push(event.seq));
  const gaps = [];
  room.on("gap", (gap) => gaps.push(gap));
  const joined = room.join();
  await turn();
  const [socket] = all.sockets;
  await socket.accept();
  await socket.joined({ messages: [message(1), message(2)] });
  await joined;
  return { ...all, socket, room, got, gaps };
}
