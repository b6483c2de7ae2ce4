// The golden frames: each that a gateway sends is read, in each of its forms;
// and each that a client sends and there is a method for is what that sends.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { decode } from "../dist/index.js";
import { bob, message, online, setup, turn } from "./gateway.js";

const frames = new URL("../../../proto/testdata/frames/", import.meta.url);
const golden = (folder) =>
  readdirSync(new URL(folder, frames))
    .filter((name) => name.endsWith(".json"))
    .map((name) => [name.slice(0, -5), JSON.parse(readFileSync(new URL(folder + name, frames), "utf8"))]);

/** Times in one form; what is missing and what is false are the same. */
const plain = (value, name) => {
  if (/^(timestamp|expiresAt)$/.test(name ?? "")) return new Date(value).toISOString();
  if (Array.isArray(value)) return value.filter((entry) => entry?.type !== "some-later-event").map((entry) => plain(entry));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== false).map(([key, field]) => [key, plain(field, key)]));
};

test("every frame of the gateway is read as what it says, in all its forms", () => {
  const files = golden("server/");
  assert.ok(files.length > 40);
  for (const [name, { json, also = [] }] of files) {
    for (const form of [json, ...also]) assert.deepEqual(plain(decode(JSON.stringify(form))), plain(json), name);
  }
});

test("what is no frame is none", () => {
  for (const text of ["", "{", "null", "7", "[]", "{}", '{"type":7}', undefined, new ArrayBuffer(3)]) assert.equal(decode(text), undefined);
});

test("every frame that comes unasked reaches the application", async (t) => {
  const { client, socket } = await online(t);
  const seen = [];
  client.on("frame", (frame) => seen.push(frame.type));
  const told = [];
  for (const type of ["presence", "broadcast", "invited", "goingAway", "error"]) client.on(type, () => told.push(type));
  const types = {
    gap: "gap", message: "message", edited: "edited", deleted: "deleted", signal: "signal", joined: "joined",
    left: "left", stats: "stats", updated: "updated", out: "out",
  };
  for (const [name, { json, also = [] }] of golden("server/")) {
    if (["welcome", "auth-success", "auth-failed", "resumed", "token-expiring"].includes(json.type)) continue;
    told.length = 0;
    const fresh = client.room(json.roomId ?? "lobby");
    const off = Object.keys(types).map((type) => fresh.on(type, () => told.push(type)));
    for (const form of [json, ...also]) socket.say(form);
    off.forEach((stop) => stop());
    const want = {
      presence: ["presence"], "admin-message": ["broadcast"], invited: ["invited"], "going-away": ["goingAway"], signal: ["signal"],
      "user-joined": ["joined"], "user-left": ["left"], "room-stats": ["stats"], "room-updated": ["updated"],
    }[json.type];
    if (want) assert.deepEqual(told, want, name);
  }
  assert.ok(seen.includes("presence") && seen.includes("room-info"));
});

test("an entry of the log becomes an event: message, edited, deleted", async (t) => {
  const { socket, room } = await online(t);
  const events = [];
  for (const type of ["message", "edited", "deleted"]) {
    room.on(type, ({ timestamp, type: said, ...event }) => {
      assert.equal(said, type);
      events.push([type, event]);
    });
  }
  const files = Object.fromEntries(golden("server/"));
  let seq = 10;
  for (const name of ["chat-message", "chat-message.data", "chat-message.null-data", "room-message", "message-edited", "message-deleted"]) {
    socket.say({ ...files[name].json, roomId: "r", seq: seq++, prev: 0 });
  }
  socket.say({ type: "some-later-event", roomId: "r", seq: 99 });
  const ada = { id: "u-ada", username: "Ada" };
  const told = { roomId: "r", user: ada, live: true };
  assert.deepEqual(events, [
    ["message", { ...told, seq: 10, id: "r1", content: "Hello, everybody!" }],
    ["message", { ...told, seq: 11, data: { poll: ["tea", "coffee"], closes: 1.5 } }],
    ["message", { ...told, seq: 12, data: null }],
    ["message", { ...told, seq: 13, ...pick(files["room-message"].json) }],
    ["edited", { ...told, user: files["message-edited"].json.user, seq: 14, target: files["message-edited"].json.target, content: files["message-edited"].json.content }],
    ["deleted", { ...told, user: files["message-deleted"].json.user, seq: 15, target: files["message-deleted"].json.target }],
  ]);
});

const pick = ({ id, content, data, user }) => ({ user, ...(id && { id }), ...(content !== undefined && { content }), ...(data !== undefined && { data }) });

/** How a request of each type is made: by its method, or by `ask`. */
const made = {
  "leave-room": (client, { roomId }) => client.room(roomId).leave(),
  signal: (client, { roomId, event, data }) => client.room(roomId).signal(event, data),
  "set-status": (client, { status, text }) => client.setStatus(status, text),
  "edit-message": (client, { roomId, target, content }) => client.room(roomId).edit(target, content),
  "delete-message": (client, { roomId, target }) => client.room(roomId).delete(target),
  "mark-read": (client, { roomId, seq }) => client.room(roomId).markRead(seq),
  "get-history": (client, { roomId, ...page }) => client.room(roomId).history(page),
  "get-room-info": (client, { roomId }) => client.room(roomId).info(),
  "create-room": (client, { roomId, ...settings }) => client.createRoom(roomId, settings),
  "update-room": (client, { roomId, ...settings }) => client.room(roomId).update(settings),
  "delete-room": (client, { roomId }) => client.room(roomId).remove(),
  "open-direct": (client, { userId }) => client.openDirect(userId),
  invite: (client, { roomId, userId }) => client.room(roomId).invite(userId),
  uninvite: (client, { roomId, userId }) => client.room(roomId).uninvite(userId),
  "set-role": (client, { roomId, userId, role }) => client.room(roomId).setRole(userId, role),
  ...Object.fromEntries(
    ["kick", "ban", "unban", "mute", "unmute"].map((action) => [
      action,
      (client, { roomId, userId, reason, until }) => client.room(roomId).moderate(action, userId, { reason, until: until && new Date(until) }),
    ]),
  ),
};

test("every frame of a client is what its method sends", async (t) => {
  for (const [name, { json }] of golden("client/")) {
    if (["auth", "resume", "ping", "join-room"].includes(json.type)) continue; // below, and in client.test.js
    await t.test(name, async (t) => {
      const { client, sockets } = setup(t);
      client.connect();
      await turn();
      const [socket] = sockets;
      await socket.accept();
      const { type, id, traceparent, ...fields } = json; // the client names no trace
      if (["leave-room", "signal", "chat-message"].includes(type)) {
        client.room(fields.roomId).join().catch(() => {});
        await turn();
        await socket.joined();
      }
      if (type === "chat-message") client.room(fields.roomId).send(fields).catch(() => {});
      else Promise.resolve((made[type] ?? ((client) => client.ask(type, fields)))(client, fields)).catch(() => {});
      await turn();
      const { id: chosen, ...sent } = socket.take(type);
      if (type !== "signal") assert.match(chosen, /^[0-9a-f]{24}$/);
      const { id: _, traceparent: __, ...want } = json;
      if ("until" in want) want.until = new Date(want.until).toISOString();
      assert.deepEqual(sent, JSON.parse(JSON.stringify(want))); // JavaScript has no -0 in JSON
    });
  }
});

test("auth, join-room and resume have the fields of theirs", async (t) => {
  const keys = (frame) => Object.keys(frame).sort();
  const files = Object.fromEntries(golden("client/"));
  const { sockets, socket, tick } = await online(t);
  socket.say(message(3, { user: bob }));
  socket.end(1006);
  tick(500);
  await turn();
  await sockets[1].greet();
  const sent = sockets[1].take("resume");
  assert.deepEqual(keys(sent), keys(files.resume.json));
  assert.deepEqual(sent.rooms, { r: { seq: 3, epoch: "e1" } });
  sockets[1].say({ type: "error", id: sent.id, code: "resume-failed", message: "no" });
  await turn();
  assert.deepEqual(keys(sockets[1].take("auth")), keys(files.auth.json));
});
