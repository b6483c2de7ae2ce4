import assert from "node:assert/strict";
import { test } from "node:test";
import { afterClose, fullJitter } from "../assets/js/backoff.js";

const most = () => 0.999999;
const least = () => 0;
const at = (more = {}) => ({ attempt: 0, signedIn: true, renewed: false, random: most, ...more });

test("the bound doubles up to its cap, and the wait is anywhere below it", () => {
  assert.equal(fullJitter(0, most), 1000);
  assert.equal(fullJitter(1, most), 2000);
  assert.equal(fullJitter(4, most), 16_000);
  assert.equal(fullJitter(5, most), 30_000);
  assert.equal(fullJitter(5000, most), 30_000);
  assert.equal(fullJitter(5000, least), 0);
});

test("each close code does what the protocol page says", () => {
  for (const code of [1000, 1003, 1007, 1009]) assert.equal(afterClose(code, at()).action, "stop", code);
  for (const code of [4000, 4001, 4003, 4099]) assert.equal(afterClose(code, at()).action, "sign-in", code);
  for (const code of [1001, 1005, 1006, 1011, 1012, 1013, 1015, 4100, 4102, 4103, 4199, 4200, 4201, 4203, 4299, 4300]) {
    assert.equal(afterClose(code, at()).action, "retry", code);
  }
});

test("1001 waits for the hint of going-away, with jitter on top", () => {
  assert.deepEqual(afterClose(1001, at({ hintMs: 3000, random: least })), { action: "retry", delayMs: 3000, renew: false });
  const { delayMs } = afterClose(1001, at({ hintMs: 3000 }));
  assert.ok(delayMs > 3000 && delayMs <= 4000, delayMs);
});

test("the 4200 range comes back at once, but not again and again", () => {
  assert.equal(afterClose(4200, at()).delayMs, 1000);
  assert.equal(afterClose(4200, at({ attempt: 4 })).delayMs, 16_000);
  assert.equal(afterClose(4203, at()).renew, true);
});

test("a full gateway is left alone for longer", () => {
  assert.ok(afterClose(1013, at({ random: least })).delayMs >= 2000);
  assert.ok(afterClose(1013, at({ attempt: 9 })).delayMs > 30_000);
});

test("1008 before sign-in is worth one new token, after it none", () => {
  assert.equal(afterClose(1008, at({ signedIn: false })).renew, true);
  assert.equal(afterClose(1008, at({ signedIn: false, renewed: true })).action, "sign-in");
  assert.equal(afterClose(1008, at()).action, "stop");
});
