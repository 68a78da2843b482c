// The graphs of examples/python-agents, with both clients. Only where a Python project is served.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import {
  SDKS,
  collect,
  human,
  listed,
  makeClient,
  newThread,
  startServer,
  stateMessages,
  until,
} from "./support.mjs";

const skip = !process.env.RUNLOOM_TEST_CONFIG && "no Python project is served";
const QUICK = "hello [tokens=4 rate=0]";

let server;
before(async () => {
  if (!skip) server = await startServer();
});
after(() => server?.stop());

const kinds = (messages) => messages.map(({ type }) => type);

for (const [version, Client] of SDKS) {
  describe(`sdk ${version}`, { concurrency: true, skip }, () => {
    let client;
    before(() => (client = makeClient(Client, server.urls)));

    test("an agent streams and calls its tools", async () => {
      const thread = await newThread(client);
      const input = human("hello [call=weather,search tokens=4 rate=0]");
      const streamMode = ["messages-tuple", "updates"];
      const parts = await collect(client.runs.stream(thread, "assistant", { input, streamMode }));
      const heard = parts.filter(({ event }) => event === "messages").map(({ data }) => data[0]);
      const text = heard.filter(({ type }) => type === "AIMessageChunk").map((m) => m.content);
      assert.equal(text.join(""), "word1 word2 word3 end.");
      assert.ok(parts.some(({ event }) => event === "updates"));
      const messages = await stateMessages(client, thread);
      assert.deepEqual(kinds(messages), ["human", "ai", "tool", "tool", "ai"]);
    });

    test("a second message while it talks", async () => {
      const thread = await newThread(client);
      const input = human("a [tokens=400 rate=20]");
      let said = "";
      const stream = client.runs.stream(thread, "assistant", {
        input,
        streamMode: "messages-tuple",
      });
      const listening = (async () => {
        for await (const { event, data } of stream) {
          if (event === "messages") said += data[0].content;
        }
      })();
      await until(() => said.split(" ").length > 5);
      const second = await client.runs.create(thread, "assistant", {
        input: human(QUICK),
        multitaskStrategy: "interrupt",
      });
      await client.runs.join(thread, second.run_id);
      await listening;
      const messages = await stateMessages(client, thread);
      assert.deepEqual(kinds(messages), ["human", "ai", "human", "ai"]);
      assert.equal(messages[1].content, said.trimEnd());
      assert.equal(messages[1].response_metadata.finish_reason, "interrupted");
      const statuses = Object.values(await listed(client, thread)).sort();
      assert.deepEqual(statuses, ["interrupted", "success"]);
    });

    test("a tool that was cut off is answered, and the thread goes on", async () => {
      const thread = await newThread(client);
      const input = human("a [call=search seconds=30 rate=0]");
      await client.runs.create(thread, "assistant", { input });
      await until(async () => (await stateMessages(client, thread)).length === 2);
      const second = await client.runs.create(thread, "assistant", {
        input: human(QUICK),
        multitaskStrategy: "interrupt",
      });
      await client.runs.join(thread, second.run_id);
      const messages = await stateMessages(client, thread);
      assert.deepEqual(kinds(messages), ["human", "ai", "tool", "human", "ai"]);
      assert.equal(messages[2].status, "error");
    });

    test("a person approves", async () => {
      const thread = await newThread(client);
      const values = await client.runs.wait(thread, "approval", { input: human(QUICK) });
      assert.equal(values.__interrupt__[0].value.draft, "word1 word2 word3 end.");
      assert.equal((await client.threads.get(thread)).status, "interrupted");
      const done = await client.runs.wait(thread, "approval", { command: { resume: "approve" } });
      assert.equal(done.messages.at(-1).content, "Sent: word1 word2 word3 end.");
    });

    test("branches and subgraphs", async () => {
      const thread = await newThread(client);
      const parts = await collect(
        client.runs.stream(thread, "research", {
          input: human("rome, oslo [tokens=3 rate=0]"),
          streamMode: "updates",
          streamSubgraphs: true,
        }),
      );
      const inner = parts.filter(({ event }) => event.startsWith("updates|look_up:"));
      assert.equal(inner.length, 4);
      const { values } = await client.threads.getState(thread);
      assert.deepEqual(values.findings, ["rome: word1 word2 end.", "oslo: word1 word2 end."]);
    });

    test("a pause after a stop is resumed", async () => {
      const thread = await newThread(client);
      const run = await client.runs.create(thread, "approval", {
        input: human("a [tokens=60 rate=30]"),
      });
      await until(async () => (await stateMessages(client, thread)).length === 1);
      await client.runs.cancel(thread, run.run_id, true);
      const values = await client.runs.wait(thread, "approval", { input: null });
      assert.ok(values.__interrupt__[0].value.draft.endsWith("end."));
      const done = await client.runs.wait(thread, "approval", { command: { resume: "reject" } });
      assert.equal(done.messages.at(-1).content, "I did not send it.");
    });
  });
}
