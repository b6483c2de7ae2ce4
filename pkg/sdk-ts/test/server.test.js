// The client against a real server that is killed and started again under it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Parley } from "../dist/node/index.js";
import "./platform.js";
import { serve, until } from "./serve.js";

/** How many clients there are, each in both rooms, and how often the server is killed under them. */
const CLIENTS = 4;
const ROOMS = ["harbour", "bridge"];
const KILLS = 3;

test("a real server", async (t) => {
  const server = await serve(t, { PARLEY_RATE_LIMIT: "0" });

  await t.test("chat, history, members, presence, moderation", async (t) => {
    const ann = new Parley(server.url, { token: await server.token("ann") });
    const ben = new Parley(server.url, { token: await server.token("ben") });
    t.after(() => (ann.close(), ben.close()));
    assert.equal(await ann.createRoom("deck", { topic: "Ships", persistent: true }), true);
    await Promise.all([ann.room("deck").join(), ben.room("deck").join(), ben.room("lobby").join(), ann.room("lobby").join()]);
    const heard = [];
    ben.room("deck").on("message", ({ content, data, user, live }) => heard.push([user.username, content ?? data, live]));
    for (const type of ["edited", "deleted", "signal"]) ben.room("deck").on(type, ({ content, target, event }) => heard.push([type, content ?? event ?? target]));
    const statuses = [];
    ben.on("presence", ({ user, status, text }) => statuses.push([user.username, status, text]));
    const { seq, durability } = await ann.room("deck").send("ahoy");
    assert.equal(durability, "file");
    const poll = await ann.room("deck").send({ data: { poll: ["tea", "rum"] } });
    await ann.room("deck").edit(seq, "ahoy!");
    await ann.room("deck").delete(poll.seq);
    ann.room("deck").signal("typing");
    await ann.setStatus("busy", "at the helm");
    await until("all is heard", () => heard.length === 5 && statuses.length === 1);
    assert.deepEqual(heard, [
      ["ann", "ahoy", true],
      ["ann", { poll: ["tea", "rum"] }, true],
      ["edited", "ahoy!"],
      ["deleted", poll.seq],
      ["signal", "typing"],
    ]);
    assert.deepEqual(statuses, [["ann", "busy", "at the helm"]]);
    const { messages, events } = await ben.room("deck").history();
    assert.deepEqual([messages.map(({ content }) => content), events.length], [["ahoy"], 3]);
    const members = [];
    for await (const { username, role } of ann.room("deck").members()) members.push([username, role]);
    assert.deepEqual(members.sort(), [["ann", "owner"], ["ben", "member"]]);

    const lobby = ben.room("lobby").messages();
    await ann.room("lobby").send("to everybody");
    assert.equal((await lobby.next()).value.content, "to everybody");

    const out = new Promise((resolve) => ben.room("deck").on("out", resolve));
    await ann.room("deck").moderate("kick", ben.user.id, { reason: "mutiny" });
    assert.deepEqual(await out, { code: "kicked", reason: "mutiny" });
    await assert.rejects(ben.room("deck").edit(seq, "mine"), { name: "ParleyError" });
    await assert.rejects(new Parley(server.url, { token: "nonsense" }).connect(), { code: "unauthenticated" });
  });

  await t.test("killed again and again, every message comes once and in order to everybody", async (t) => {
    const clients = await Promise.all(
      Array.from({ length: CLIENTS }, async (_, number) => {
        const token = await server.token(`sailor-${number}`);
        const client = new Parley(server.url, { token });
        t.after(() => client.close());
        const got = Object.fromEntries(ROOMS.map((id) => [id, []]));
        const states = [];
        client.on("state", (state) => states.push(state));
        const trouble = [];
        client.on("ended", (error) => trouble.push(error));
        for (const id of ROOMS) {
          const room = client.room(id);
          room.on("message", ({ seq, content }) => got[id].push({ seq, content }));
          room.on("gap", (gap) => trouble.push(gap));
          room.on("out", (out) => trouble.push(out));
          await room.join();
        }
        return { client, number, got, states, trouble, acks: [] };
      }),
    );

    let sending = true;
    const send = async ({ client, number, acks }, id) => {
      for (let n = 0; sending; n++) {
        const content = `${number}:${n}`;
        acks.push(client.room(id).send(content).then(({ seq }) => ({ id, seq, content })));
        // Several wait at once now and then.
        if (n % 3 === 0) await acks.at(-1);
        await new Promise((resolve) => setTimeout(resolve, 60));
      }
    };
    const senders = clients.flatMap((one) => ROOMS.map((id) => send(one, id)));
    for (let kill = 0; kill < KILLS; kill++) {
      const enough = () => clients.every(({ acks }) => acks.length > 20 * (kill + 1));
      await until("some are under way", enough);
      await server.kill();
      await server.start();
      await until("all are back", () => clients.every(({ client }) => client.state === "online"));
    }
    sending = false;
    await Promise.all(senders);
    for (const id of ROOMS) {
      const acks = (await Promise.all(clients.flatMap(({ acks }) => acks))).filter((ack) => ack.id === id);
      const want = acks.map(({ seq, content }) => ({ seq, content })).sort((a, b) => a.seq - b.seq);
      assert.ok(want.length > CLIENTS * KILLS * 5, `only ${want.length} messages`);
      await until(`all of ${id} are everywhere`, () => clients.every(({ got }) => got[id].length >= want.length));
      for (const { got } of clients) assert.deepEqual(got[id], want, "what a client got is what was acknowledged, once, in the order of seq");
      for (const { number } of clients) {
        const numbers = want.flatMap(({ content }) => (content.startsWith(`${number}:`) ? [Number(content.split(":")[1])] : []));
        assert.deepEqual(numbers, numbers.map((_, n) => n), "a sender's messages are in the order in which they were sent, all of them");
      }
      t.diagnostic(`${id}: ${want.length} messages, each once at ${CLIENTS} clients over ${KILLS} kills`);
    }
    for (const { trouble, states } of clients) {
      assert.deepEqual(trouble, []);
      assert.ok(states.filter((state) => state === "online").length > KILLS, `states: ${states}`);
    }
  });
});
