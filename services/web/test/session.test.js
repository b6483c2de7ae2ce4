import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, Session, SignedOut } from "../assets/js/session.js";

function storage() {
  const kept = new Map();
  return {
    kept,
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
  };
}

const grant = (n, expiresIn = 3600) => ({ token: `t${n}`, refreshToken: `r${n}`, expiresIn, user: { id: "u1", username: "ann" } });

function setup(answers) {
  const at = { now: 1_000_000 };
  const asked = [];
  const tab = storage();
  const device = storage();
  const fetch = async (url, { body, headers }) => {
    asked.push({ path: url.replace("http://host/api/", ""), body: body && JSON.parse(body), authorization: headers.Authorization });
    const [status, answer, more] = answers.shift();
    if (status === 0) throw new TypeError("failed to fetch");
    return new Response(typeof answer === "string" ? answer : JSON.stringify(answer), { status, headers: more });
  };
  return { session: new Session({ api: "http://host/api/", fetch, tab, device, now: () => at.now }), asked, tab, device, at };
}

test("signing in keeps the tokens for the tab, or for the device", async () => {
  const { session, asked, tab, device } = setup([[200, grant(1)], [200, grant(2)]]);
  await session.signIn("ann", "secret");
  assert.deepEqual(asked[0], { path: "auth", body: { username: "ann", password: "secret" }, authorization: undefined });
  assert.deepEqual([tab.kept.size, device.kept.size], [1, 0]);
  await session.signIn("ann", "secret", { keep: true });
  assert.deepEqual([tab.kept.size, device.kept.size], [0, 1]);
  assert.equal(session.user.username, "ann");
  assert.equal(await session.token(), "t2");
});

test("registering signs in, whether or not the answer brings a token", async () => {
  const { session, asked } = setup([[201, { user: { id: "u1" } }], [200, grant(1)]]);
  await session.register("ann", "secret");
  assert.deepEqual(asked.map(({ path }) => path), ["register", "auth"]);
});

test("a token near its end, or refused, is renewed", async () => {
  const { session, asked, at } = setup([[200, grant(1, 100)], [200, grant(2)], [200, grant(3)]]);
  await session.signIn("ann", "secret");
  assert.equal(await session.token(), "t1");
  at.now += 50_000;
  assert.equal(await session.token(), "t2");
  assert.deepEqual(asked[1].body, { refreshToken: "r1" });
  assert.equal(await session.token({ refused: "t1" }), "t2");
  assert.equal(await session.token({ refused: "t2" }), "t3");
});

test("a refresh that is refused signs out, one that fails does not", async () => {
  const { session } = setup([[200, grant(1, 1)], [503, "oops"], [0], [401, { error: { code: "unauthenticated", message: "revoked" } }]]);
  await session.signIn("ann", "secret");
  await assert.rejects(session.token(), (error) => error instanceof ApiError && error.status === 503);
  await assert.rejects(session.token(), (error) => error instanceof ApiError && error.status === 0);
  assert.equal(session.present, true);
  await assert.rejects(session.token(), SignedOut);
  assert.equal(session.present, false);
});

test("refusals have a code and the server's words, whatever their shape", async () => {
  for (const [answer, more, expected] of [
    [[401, {}], undefined, { code: "unauthenticated", message: "unauthenticated" }],
    [[400, { code: "invalid-argument", message: "password is missing" }], undefined, { code: "invalid-argument", message: "password is missing" }],
    [[409, { error: "username is taken" }], undefined, { code: "already-exists", message: "username is taken" }],
    [[429, { error: { code: "rate-limited", message: "Too many attempts." } }], { "Retry-After": "7" }, { code: "rate-limited", retryAfterMs: 7000 }],
    [[502, "<html>"], undefined, { code: "unavailable" }],
    [[0], undefined, { code: "unreachable", status: 0 }],
  ]) {
    const { session } = setup([[...answer, more]]);
    await assert.rejects(session.signIn("ann", "x"), expected);
  }
});

test("the devices are listed and ended with the token", async () => {
  const { session, asked } = setup([[200, grant(1)], [200, { sessions: [{ id: "s1", current: true }] }], [200, { success: true }], [200, { success: true }]]);
  await session.signIn("ann", "secret");
  assert.deepEqual(await session.devices(), [{ id: "s1", current: true }]);
  await session.end("s2");
  await session.end("all");
  assert.deepEqual(asked.slice(1), [
    { path: "sessions", body: undefined, authorization: "Bearer t1" },
    { path: "logout", body: { sessionId: "s2" }, authorization: "Bearer t1" },
    { path: "logout", body: { all: true }, authorization: "Bearer t1" },
  ]);
});

test("signing out forgets at once and tells the server", async () => {
  const { session, asked } = setup([[200, grant(1)], [0]]);
  await session.signIn("ann", "secret");
  const done = session.signOut();
  assert.equal(session.present, false);
  await done;
  assert.deepEqual(asked[1], { path: "logout", body: { refreshToken: "r1" }, authorization: "Bearer t1" });
});
