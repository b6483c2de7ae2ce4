import assert from "node:assert/strict";
import { test } from "node:test";
import { pieces } from "../assets/js/links.js";

const links = (text) => pieces(text).flatMap(({ text, href }) => (href ? [[text, href]] : []));

test("the pieces of a text are the text", () => {
  for (const text of ["", "no link", "https://a.example", "a https://b.example/c?d=e#f, and (http://g.example/h_(i)). End", "中文https://j.example。", "\nhttps://k.example\n"]) {
    assert.equal(pieces(text).map(({ text }) => text).join(""), text);
  }
});

test("addresses are found without the sentence around them", () => {
  for (const [text, want] of [
    ["see https://a.example.", "https://a.example"],
    ["(https://a.example/b)", "https://a.example/b"],
    ["https://a.example/b_(c)", "https://a.example/b_(c)"],
    ["“https://a.example/b”", "https://a.example/b"],
    ["去 https://a.example/路。好", "https://a.example/路。好"],
    ["去 https://a.example/b。", "https://a.example/b"],
    ["HTTPS://A.example/B!!!", "HTTPS://A.example/B"],
    ["<https://a.example>", "https://a.example"],
  ]) {
    assert.deepEqual(links(text).map(([text]) => text), [want], text);
  }
});

test("only web addresses that lead where they seem to are links", () => {
  for (const text of [
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "ftp://a.example",
    "https://",
    "https://bank.example@elsewhere.example/",
    "https://user:secret@a.example",
    "xhttps://a.example",
    "file:///etc/passwd",
    "//a.example",
  ]) {
    assert.deepEqual(links(text), [], text);
  }
  assert.deepEqual(links('https://a.example/"><img src=x>'), [["https://a.example/", "https://a.example/"]]);
});
