import assert from "node:assert/strict";
import { test } from "node:test";
import { afterClose, fullJitter } from "../dist/backoff.js";

const most = () => 0.999999;
const least = () => 0;
const at = (more = {}) => ({ attempt: 0, signedIn: true, renewed: false, random: most, ...more });

test("the bound doubles up to its cap, and the wait is anywhere below it", () => {
  for (const [attempt, bound] of [[0, 1000], [1, 2000], [4, 16_000], [5, 30_000], [5000, 30_000]]) {
    assert.equal(fullJitter(attempt, most), bound);
    assert.equal(fullJitter(attempt, least), 0);
  }
});

test("each close code does what the protocol page says", () => {
  const ends = { 1000: "closed", 1003: "defect", 1007: "defect", 1009: "defect", 4000: "terminated", 4001: "revoked", 4003: "disabled", 4099: "terminated" };
  for (const code in ends) assert.equal(afterClose(Number(code), at()).end, ends[code], code);
  for (const code of [1001, 1005, 1006, 1011, 1012, 1013, 1015, 4100, 4102, 4103, 4199, 4200, 4201, 4203, 4299, 4300]) {
    assert.ok("delayMs" in afterClose(code, at()), String(code));
  }
});

test("1001 waits for the hint of going-away, with jitter on top", () => {
  assert.deepEqual(afterClose(1001, at({ hintMs: 3000, random: least })), { delayMs: 3000, renew: false });
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

test("1008 before sign-in is worth one newer token, after it none", () => {
  assert.equal(afterClose(1008, at({ signedIn: false })).renew, true);
  assert.equal(afterClose(1008, at({ signedIn: false, renewed: true })).end, "unauthenticated");
  assert.equal(afterClose(1008, at()).end, "policy");
});
