import assert from "node:assert/strict";
import { test } from "node:test";

import { Pages } from "../assets/js/pages.js";

/** Numbers from 1, each after a turn of the event loop. */
async function* numbers(last) {
  for (let n = 1; n <= last; n++) {
    await new Promise(setImmediate);
    yield n;
  }
}

const upTo = (last) => Array.from({ length: last }, (_, i) => i + 1);

test("a list is read page by page, and knows whether there is more", async () => {
  const pages = new Pages(numbers(5));
  await pages.read(2);
  assert.deepEqual([pages.items, pages.more], [upTo(2), true]);
  await pages.read(3);
  assert.deepEqual([pages.items, pages.more], [upTo(5), false]);
  await pages.read(3);
  assert.deepEqual(pages.items, upTo(5));
});

test("clicks that come while a page is read lose nothing", async () => {
  const pages = new Pages(numbers(20));
  while (pages.more) await Promise.all([pages.read(3), pages.read(3), new Promise(setImmediate).then(() => pages.read(3))]);
  assert.deepEqual(pages.items, upTo(20));
});
