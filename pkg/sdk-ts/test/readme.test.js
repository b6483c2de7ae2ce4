// The code of the documentation runs.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { serve } from "./serve.js";

/** The blocks of a page as one program, for a server of the test's. */
const program = (page, url) =>
  [...readFileSync(new URL(page, import.meta.url), "utf8").matchAll(/^```js\n(.*?)^```/gms)]
    .map(([, code]) => code)
    .join("\n")
    .replaceAll("localhost:8080", new URL(url).host);

test("the code of the documentation", async (t) => {
  const server = await serve(t);
  // Within the package, so that it knows its own name.
  const folder = new URL("../dist/documentation/", import.meta.url);
  await mkdir(folder, { recursive: true });
  t.after(() => rm(folder, { recursive: true, force: true }));
  const start = async (name, code) => {
    const file = new URL(name, folder);
    await writeFile(file, `import { webcrypto } from "node:crypto"; globalThis.crypto ??= webcrypto;\n${code}`);
    const child = spawn(process.execPath, [file.pathname], { stdio: ["ignore", "pipe", "pipe"] });
    t.after(() => child.kill());
    return child;
  };

  await t.test("README.md", async () => {
    const child = await start("readme.mjs", program("../README.md", server.url));
    let said = "";
    for (const output of [child.stdout, child.stderr]) output.on("data", (text) => (said += text));
    const code = await new Promise((resolve) => child.once("exit", resolve));
    assert.equal(code, 0, said);
    for (const line of [/^1 alice hello true$/m, /^2 alice look true$/m, /^2 false$/m, /^alice member$/m, /^general 1$/m, /^resume-failed$/m]) assert.match(said, line);
    assert.doesNotMatch(said, /no further attempt: (?!closed)/);
  });

  /** Waits until a program, which goes on by itself, says something. */
  const says = (child, what) => {
    let said = "";
    return new Promise((resolve, reject) => {
      child.stdout.on("data", (text) => what.test((said += text)) && resolve());
      child.stderr.on("data", (text) => (said += text));
      child.once("exit", () => reject(new Error(said)));
    });
  };

  await t.test("MOVING.md", async () => {
    await says(await start("moving.mjs", program("../MOVING.md", server.url)), /^bob moved 1$/m);
  });

  await t.test("proto/PLAIN.md", async () => {
    const code = program("../../../proto/PLAIN.md", server.url);
    assert.ok(code.split("\n").filter((line) => line.trim()).length <= 20, "20 lines");
    const ours = `
      import { NodeWebSocket } from ${JSON.stringify(new URL("../dist/node/socket.js", import.meta.url).href)};
      globalThis.WebSocket ??= class extends NodeWebSocket {
        set onopen(open) { const look = setInterval(() => this.readyState === 1 && (clearInterval(look), open()), 5); }
      };
      const signIn = async () => ${JSON.stringify(await server.token("plain"))};
    `;
    await says(await start("plain.mjs", ours + code), /plain hello/);
  });
});
