// A real server: `parley serve` as a process, at addresses that stay the same
// over restarts. PARLEY is the path of the program.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

async function freeAddress() {
  // Below where systems begin to give ports out by themselves, so that nobody
  // takes it while the server is down.
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const free = await new Promise((resolve) => {
      const probe = createServer();
      probe.once("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (free) return `127.0.0.1:${port}`;
  }
}

/** Starts a server that ends with the test. */
export async function serve(t, settings = {}) {
  const dir = await mkdtemp(join(tmpdir(), "parley-sdk-"));
  const [http, admin] = [await freeAddress(), await freeAddress()];
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, PARLEY_DATA_DIR: join(dir, "data"), PARLEY_HTTP_ADDR: http, PARLEY_ADMIN_ADDR: admin, ...settings };
  let child;
  let said = "";
  const start = async () => {
    const began = (child = spawn(process.env.PARLEY, ["serve"], { env, stdio: ["ignore", "ignore", "pipe"] }));
    began.stderr.on("data", (text) => (said = (said + text).slice(-4000)));
    for (const end = Date.now() + 60_000; Date.now() < end; ) {
      const ready = await fetch(`http://${admin}/readyz`).then(({ ok }) => ok, () => false);
      if (ready) return;
      if (began.exitCode !== null) throw new Error(`parley serve has ended:\n${said}`);
      await new Promise((resolve) => setTimeout(resolve, 20)); // between two looks
    }
    throw new Error(`parley serve is not ready:\n${said}`);
  };
  const kill = async () => {
    const gone = new Promise((resolve) => child.once("exit", resolve));
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    else return;
    await gone;
  };
  t.after(async () => {
    await kill();
    await rm(dir, { recursive: true, force: true });
  });
  await start();
  return {
    url: `http://${http}`,
    start,
    kill,
    /** A token of a user, who is registered by this. */
    async token(username) {
      const answer = await fetch(`http://${http}/api/auth`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ username, password: "correct horse" }),
      });
      if (!answer.ok) throw new Error(`signing in: ${answer.status} ${await answer.text()}`);
      return (await answer.json()).token;
    },
  };
}

/** Until a condition holds. */
export async function until(what, condition, patience = 60_000) {
  for (const end = Date.now() + patience; Date.now() < end; ) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10)); // between two looks
  }
  throw new Error(`never: ${what}`);
}
