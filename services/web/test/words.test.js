import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { sayError, speak, t } from "../assets/js/words.js";
import en from "../assets/js/words/en.js";
import zh from "../assets/js/words/zh.js";

const names = (text) => [...new Set([...[text].flat().join().matchAll(/\{(\w+)\}/g)].map(([, name]) => name))].sort();

test("every language says everything, with the same names in it", () => {
  assert.deepEqual(Object.keys(zh).sort(), Object.keys(en).sort());
  for (const key in en) assert.deepEqual(names(zh[key]), names(en[key]), key);
});

test("the page's English is that of its words, and each of its keys is there", async () => {
  const html = await readFile(new URL("../assets/index.html", import.meta.url), "utf8");
  let seen = 0;
  for (const [, key, text] of html.matchAll(/data-t="([^"]+)"[^>]*>([^<]*)</g)) {
    seen++;
    assert.equal(text, en[key], key);
  }
  for (const [tag, name, key] of html.matchAll(/<[^>]*data-t-([a-z-]+)="([^"]+)"[^>]*>/g)) {
    assert.ok(tag.includes(` ${name}="${en[key]}"`), `${key} in ${tag}`);
  }
  assert.ok(seen > 50, `only ${seen} texts found`);
});

test("every word that a script asks for is there, and none is there for nothing", async () => {
  const { readdir } = await import("node:fs/promises");
  const js = new URL("../assets/js/", import.meta.url);
  const files = (await readdir(js, { recursive: true })).filter((name) => name.endsWith(".js") && !name.includes("words/"));
  const sources = await Promise.all(files.map((name) => readFile(new URL(name, js), "utf8")));
  const all = sources.join("\n") + (await readFile(new URL("../assets/index.html", import.meta.url), "utf8"));
  for (const [, key] of all.matchAll(/\bt\("([^"]+)"/g)) assert.ok(key in en, `no word for ${key}`);
  // Keys that are put together, or are what something else is called.
  const made = /^(error|ended|again|status|typing|make)-|^(online|connecting|recovering|offline|sending|waiting|joined|left|missed|renewed|kicked|room-deleted|owner|moderator|away|busy|going-away|unmute|unban|too-many-rooms)$/;
  for (const key in en) assert.ok(made.test(key) || all.includes(`"${key}"`), `nobody says ${key}`);
});

test("the dearest language that is known is spoken", () => {
  speak(["fr-FR", "zh-Hans-CN", "en"]);
  assert.equal(t("members", { n: 3 }), "3 人");
  assert.equal(sayError({ code: "muted", message: "you are muted" }), "您在此房间中已被禁言。");
  speak(["fr"]);
  assert.deepEqual([t("members", { n: 1 }), t("members", { n: 2 })], ["1 member", "2 members"]);
  assert.equal(t("joined", { user: "{user}" }), "{user} joined", "what a user is called is not looked into");
  assert.equal(sayError({ code: "forbidden", message: "only its owner may" }), "Only its owner may.");
  assert.equal(sayError({ code: "unreachable", message: "unreachable" }), "The server cannot be reached.");
});
