// Streams, waits and joins with both clients.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import {
  SDKS,
  collect,
  contents,
  human,
  listed,
  makeClient,
  newThread,
  startServer,
  until,
} from "./support.mjs";

let server;
before(async () => (server = await startServer()));
after(() => server?.stop());

for (const [version, Client] of SDKS) {
  describe(`sdk ${version}`, { concurrency: true }, () => {
    let client;
    before(() => (client = makeClient(Client, server.urls)));

    test("a stream tells its run first, then values", async () => {
      const thread = await newThread(client);
      const told = [];
      const parts = await collect(
        client.runs.stream(thread, "slow", {
          input: human("a", { delay: 0.02 }),
          onRunCreated: (run) => told.push(run),
        }),
      );
      assert.equal(parts[0].event, "metadata");
      assert.deepEqual(told, [{ run_id: parts[0].data.run_id, thread_id: thread }]);
      const values = parts.filter((part) => part.event === "values").map((part) => part.data);
      const said = values.at(-1).messages.map((message) => message.content);
      assert.deepEqual(said, ["a", "one", "two", "three"]);
      assert.equal(values.length, 4);
      assert.equal((await listed(client, thread))[told[0].run_id], "success");
    });

    test("tokens, messages and custom events", async () => {
      const thread = await newThread(client);
      const input = human("a", { count: 5, rate: 200 });
      const streamMode = ["messages-tuple", "values"];
      const parts = await collect(client.runs.stream(thread, "tokens", { input, streamMode }));
      const chunks = parts.filter((part) => part.event === "messages").map((part) => part.data[0]);
      const answer = (await contents(client, thread)).at(-1);
      assert.equal(chunks.map((chunk) => chunk.content).join(""), answer);
      assert.ok(chunks.length >= 5);
      const custom = await collect(
        client.runs.stream(thread, "custom", { input: human("b"), streamMode: "custom" }),
      );
      const numbers = custom.filter((part) => part.event === "custom").map((part) => part.data.n);
      assert.deepEqual(numbers, [0, 1, 2]);
    });

    test("joinStream repeats a resumable run event for event", async () => {
      const thread = await newThread(client);
      const original = await collect(
        client.runs.stream(thread, "slow", {
          input: human("a", { delay: 0.05 }),
          streamMode: ["values", "updates"],
          streamResumable: true,
        }),
      );
      const run = original[0].data.run_id;
      const join = (lastEventId) =>
        collect(client.runs.joinStream(thread, run, { lastEventId, streamMode: [] }));
      assert.deepEqual(await join("-1"), original);
      for (const [position, part] of original.entries()) {
        assert.deepEqual(await join(part.id), original.slice(position + 1));
      }
    });

    test("joinStream of a running run goes from the past into the present", async () => {
      const thread = await newThread(client);
      const { run_id: run } = await client.runs.create(thread, "tokens", {
        input: human("a", { count: 60, rate: 60 }),
        streamMode: "messages-tuple",
        streamResumable: true,
      });
      const early = collect(client.runs.joinStream(thread, run, { lastEventId: "-1" }));
      await until(async () => (await contents(client, thread)).length >= 1);
      const late = collect(client.runs.joinStream(thread, run, { lastEventId: "-1" }));
      assert.deepEqual(await late, await early);
      const ids = (await early).map((part) => part.id);
      assert.equal(new Set(ids).size, ids.length);
      assert.ok(ids.length > 60);
    });

    test("a dropped stream is resumed from its last id", async () => {
      const thread = await newThread(client);
      const got = [];
      const stream = client.runs.stream(thread, "tokens", {
        input: human("a", { count: 60, rate: 60 }),
        streamMode: "messages-tuple",
        streamResumable: true,
      });
      for await (const part of stream) {
        got.push(part);
        if (got.length === 12) break;
      }
      const run = got[0].data.run_id;
      const lastEventId = got.at(-1).id;
      got.push(...(await collect(client.runs.joinStream(thread, run, { lastEventId }))));
      const whole = await collect(client.runs.joinStream(thread, run, { lastEventId: "-1" }));
      assert.deepEqual(got, whole);
    });

    test("a superseded stream ends without an error", async () => {
      const thread = await newThread(client);
      const parts = [];
      const watching = (async () => {
        const input = human("a", { delay: 5 });
        for await (const part of client.runs.stream(thread, "slow", { input })) parts.push(part);
      })();
      await until(() => parts.some((part) => part.event === "values"));
      const last = await client.runs.create(thread, "echo", {
        input: human("b"),
        multitaskStrategy: "interrupt",
      });
      await watching;
      assert.ok(!parts.some((part) => part.event === "error"));
      await client.runs.join(thread, last.run_id);
      assert.deepEqual(await contents(client, thread), ["a", "b", "echo: b"]);
    });

    test("wait gives the values, and throws or not on failure", async () => {
      const thread = await newThread(client);
      const values = await client.runs.wait(thread, "echo", { input: human("a") });
      assert.equal(values.messages.at(-1).content, "echo: a");
      const payload = { input: human("b") };
      await assert.rejects(client.runs.wait(thread, "fail", payload), /NodeError: kaboom/);
      const failed = await client.runs.wait(thread, "fail", { ...payload, raiseError: false });
      assert.deepEqual(failed.__error__, { error: "NodeError", message: "kaboom" });
    });

    test("wait without a thread", async () => {
      const values = await client.runs.wait(null, "echo", { input: human("a") });
      assert.equal(values.messages.at(-1).content, "echo: a");
    });

    test("a pause and its answer", async () => {
      const thread = await newThread(client);
      const paused = await client.runs.wait(thread, "pause", { input: human("a") });
      assert.deepEqual(paused.__interrupt__[0].value, { question: "ok?" });
      assert.equal((await client.threads.get(thread)).status, "interrupted");
      const done = await client.runs.wait(thread, "pause", { command: { resume: "yes" } });
      assert.equal(done.messages.at(-1).content, "got yes");
    });

    test("state, history and updates", async () => {
      const thread = await newThread(client);
      await client.runs.wait(thread, "slow", { input: human("a", { delay: 0.02 }) });
      const history = await client.threads.getHistory(thread, { limit: 100 });
      assert.deepEqual(
        history.map((state) => state.metadata.step),
        [3, 2, 1, 0, -1],
      );
      const past = await client.threads.getState(thread, history[2].checkpoint);
      assert.deepEqual(past.next, ["two"]);
      await client.threads.updateState(thread, { values: human("b"), asNode: "three" });
      assert.deepEqual((await contents(client, thread)).slice(-2), ["three", "b"]);
    });
  });
}
