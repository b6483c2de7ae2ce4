import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectionLost, RequestError } from "../assets/js/connection.js";
import { Outbox } from "../assets/js/outbox.js";
import "./platform.js";

/** An outbox whose sends are answered by hand. */
function setup({ gate = () => "go" } = {}) {
  const at = { now: 1_000_000, gate, waits: [] };
  const tries = [];
  const outbox = new Outbox({
    send: (entry) => new Promise((ack, refuse) => tries.push({ id: entry.id, content: entry.content, ack, refuse })),
    gate: (entry, stale) => at.gate(entry, stale),
    changed: () => {},
    now: () => at.now,
    wait: async (ms) => void at.waits.push(ms),
  });
  return { outbox, tries, at };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));
const states = (outbox) => outbox.of("r").map(({ content, state }) => `${content}:${state}`);

test("one message at a time, in order, each gone with its ack", async () => {
  const { outbox, tries } = setup();
  outbox.add("r", "a");
  outbox.add("r", "b");
  assert.deepEqual(states(outbox), ["a:sending", "b:waiting"]);
  tries[0].ack({ seq: 1 });
  await turn();
  assert.deepEqual(states(outbox), ["b:sending"]);
  tries[1].ack({ seq: 2 });
  await turn();
  assert.deepEqual(states(outbox), []);
});

test("after a lost connection the same id is sent again", async () => {
  const { outbox, tries, at } = setup();
  outbox.add("r", "a");
  at.gate = () => "wait";
  tries[0].refuse(new ConnectionLost(true));
  await turn();
  assert.deepEqual(states(outbox), ["a:waiting"]);
  await outbox.flush("r");
  assert.equal(tries.length, 1, "not before the room is back");
  at.gate = () => "go";
  outbox.flush("r");
  assert.equal(tries[1].id, tries[0].id);
});

test("a message that the log shows is not sent again", async () => {
  const { outbox, tries } = setup();
  const { id } = outbox.add("r", "a");
  tries[0].refuse(new ConnectionLost(true));
  await turn();
  assert.equal(outbox.settled("r", id), true);
  assert.equal(outbox.settled("r", id), false);
  await outbox.flush("r");
  assert.equal(tries.length, 1);
});

test("beyond the deduplication window only what the log surely lacks is sent again", async () => {
  for (const [verdict, expected, sent] of [["go", "a:sending", 2], ["wait", "a:waiting", 1], ["unknown", "a:failed", 1]]) {
    const { outbox, tries, at } = setup();
    outbox.add("r", "a");
    tries[0].refuse(new ConnectionLost(true));
    await turn();
    at.now += 10 * 60_000;
    at.gate = (entry, stale) => (stale ? verdict : "go");
    outbox.flush("r");
    await turn();
    assert.deepEqual(states(outbox), [expected]);
    assert.equal(tries.length, sent);
  }
});

test("what never left is never stale", async () => {
  const { outbox, tries, at } = setup();
  outbox.add("r", "a");
  tries[0].refuse(new ConnectionLost(false));
  await turn();
  at.now += 10 * 60_000;
  at.gate = (entry, stale) => (stale ? "unknown" : "go");
  outbox.flush("r");
  assert.deepEqual(states(outbox), ["a:sending"]);
});

test("a refusal for a while is waited out, in order; others fail and let the next pass", async () => {
  const { outbox, tries, at } = setup();
  outbox.add("r", "a");
  outbox.add("r", "b");
  tries[0].refuse(new RequestError({ code: "rate-limited", message: "slow down", retryAfterMs: 300 }));
  await turn();
  assert.deepEqual(at.waits, [300]);
  assert.equal(tries[1].content, "a");
  tries[1].refuse(new RequestError({ code: "muted", message: "you are muted" }));
  await turn();
  assert.deepEqual(states(outbox), ["a:failed", "b:sending"]);
  assert.equal(outbox.of("r")[0].reason, "you are muted");
  tries[2].ack({ seq: 1 });
  await turn();
  outbox.retry("r", tries[0].id);
  assert.equal(tries[3].content, "a");
  tries[3].ack({ seq: 2 });
  await turn();
  assert.deepEqual(states(outbox), []);
});
