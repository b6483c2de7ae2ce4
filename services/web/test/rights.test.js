import assert from "node:assert/strict";
import { test } from "node:test";
import { mayDelete, mayEdit, rightsOver } from "../assets/js/rights.js";
import { Room } from "../assets/js/room.js";

const me = { id: "me", roles: [] };

function room(role, id = "r") {
  const room = new Room(id);
  room.memberList([{ id: "me", username: "me", role }], false);
  room.caughtUp();
  return room;
}

test("moderators act on members, owners on everybody, nobody on oneself", () => {
  const over = (role, target) => rightsOver(room(role), me, { id: "other", role: target });
  assert.deepEqual(over("member", "member"), { put: false, mute: false, roles: [] });
  assert.deepEqual(over("moderator", "member"), { put: true, mute: true, roles: [] });
  assert.deepEqual(over("moderator", "moderator"), { put: false, mute: false, roles: [] });
  assert.deepEqual(over("owner", "moderator"), { put: true, mute: true, roles: ["member", "owner"] });
  assert.deepEqual(rightsOver(room("owner"), me, me), { put: false, mute: false, roles: [] });
  assert.deepEqual(rightsOver(room("owner", "dm:x"), me, { id: "other" }), { put: false, mute: false, roles: [] });
  const admin = { id: "me", roles: ["admin"] };
  assert.deepEqual(rightsOver(room("member", "lobby"), admin, { id: "other" }), { put: false, mute: true, roles: [] });
});

test("authors edit and delete, moderators delete", () => {
  const mine = { mine: true, deleted: false, content: "a" };
  const other = { ...mine, mine: false };
  assert.deepEqual([mayEdit(room("member"), mine), mayDelete(room("member"), me, mine)], [true, true]);
  assert.deepEqual([mayEdit(room("owner"), other), mayDelete(room("member"), me, other), mayDelete(room("moderator"), me, other)], [false, false, true]);
  assert.equal(mayDelete(room("owner"), me, { ...mine, deleted: true }), false);
});
