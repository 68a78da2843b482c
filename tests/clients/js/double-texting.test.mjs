// The scenario that defines the product, and the four strategies, with both clients.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { AIMessage, HumanMessage, ToolMessage } from "@langchain/core/messages";
import { coerceMessageLikeToMessage } from "@langchain/core/messages";
import {
  SDKS,
  contents,
  human,
  listed,
  makeClient,
  newThread,
  rests,
  sleep,
  startServer,
  stateMessages,
  until,
} from "./support.mjs";

const SF = "what's the weather in sf?";
const NYC = "what's the weather in nyc?";
// Past the tool's answer, before the final one.
const MID_RUN_MS = 2_000;

let server;
before(async () => (server = await startServer()));
after(() => server?.stop());

function checkToolUse(ai, tool) {
  assert.equal(ai.type, "ai");
  assert.ok(ai.content.some((block) => block.type === "tool_use"));
  assert.equal(ai.tool_calls.length, 1);
  const [call] = ai.tool_calls;
  assert.ok(call.name && call.id);
  assert.deepEqual(Object.keys(call.args), ["query"]);
  assert.equal(tool.type, "tool");
  assert.equal(tool.name, call.name);
  assert.equal(tool.tool_call_id, call.id);
  JSON.parse(tool.content);
}

function checkFullTurn(turn, question) {
  assert.equal(turn.length, 4);
  assert.equal(turn[0].type, "human");
  assert.equal(turn[0].content, question);
  checkToolUse(turn[1], turn[2]);
  assert.equal(turn[3].type, "ai");
  assert.ok(turn[3].content);
}

function checkLangchainAccepts(messages) {
  const kinds = { human: HumanMessage, ai: AIMessage, tool: ToolMessage };
  for (const wire of messages) {
    const message = coerceMessageLikeToMessage(wire);
    assert.ok(message instanceof kinds[wire.type], wire.type);
    assert.equal(message.id, wire.id);
    assert.deepEqual(message.content, wire.content);
    assert.ok(message.toFormattedString());
    if (wire.type !== "ai") continue;
    const calls = ({ tool_calls: made }) => made.map(({ name, args, id }) => ({ name, args, id }));
    assert.deepEqual(calls(message), calls(wire));
  }
}

for (const [version, Client] of SDKS) {
  describe(`sdk ${version}`, { concurrency: true }, () => {
    let client;
    before(() => (client = makeClient(Client, server.urls)));

    test("the scenario", async () => {
      const thread = await newThread(client);
      const first = await client.runs.create(thread, "agent", { input: human(SF) });
      await sleep(MID_RUN_MS);
      const second = await client.runs.create(thread, "agent", {
        input: human(NYC),
        multitaskStrategy: "interrupt",
      });
      assert.equal(second.status, "pending");
      await client.runs.join(thread, second.run_id);
      const messages = await stateMessages(client, thread);
      assert.equal(messages.length, 7);
      assert.equal(messages[0].content, SF);
      checkToolUse(messages[1], messages[2]);
      checkFullTurn(messages.slice(3), NYC);
      checkLangchainAccepts(messages);
      assert.equal((await client.runs.get(thread, first.run_id)).status, "interrupted");
      assert.deepEqual(await listed(client, thread), {
        [first.run_id]: "interrupted",
        [second.run_id]: "success",
      });
    });

    test("reject", async () => {
      const thread = await newThread(client);
      const first = await client.runs.create(thread, "agent", { input: human(SF) });
      const refused = client.runs.create(thread, "agent", {
        input: human(NYC),
        multitaskStrategy: "reject",
      });
      await assert.rejects(refused, (error) => {
        assert.equal(error.status, 409);
        assert.match(String(error.message), /Thread is already running a task\./);
        return true;
      });
      await client.runs.join(thread, first.run_id);
      checkFullTurn(await stateMessages(client, thread), SF);
      assert.deepEqual(await listed(client, thread), { [first.run_id]: "success" });
    });

    test("enqueue", async () => {
      const thread = await newThread(client);
      const first = await client.runs.create(thread, "agent", { input: human(SF) });
      const second = await client.runs.create(thread, "agent", {
        input: human(NYC),
        multitaskStrategy: "enqueue",
      });
      assert.equal(second.status, "pending");
      assert.equal((await client.threads.get(thread)).status, "busy");
      await client.runs.join(thread, second.run_id);
      const messages = await stateMessages(client, thread);
      checkFullTurn(messages.slice(0, 4), SF);
      checkFullTurn(messages.slice(4), NYC);
      assert.deepEqual(await listed(client, thread), {
        [first.run_id]: "success",
        [second.run_id]: "success",
      });
      assert.equal(await rests(client, thread), "idle");
    });

    test("rollback", async () => {
      const thread = await newThread(client);
      const first = await client.runs.create(thread, "agent", { input: human(SF) });
      const second = await client.runs.create(thread, "agent", {
        input: human(NYC),
        multitaskStrategy: "rollback",
      });
      await client.runs.join(thread, second.run_id);
      checkFullTurn(await stateMessages(client, thread), NYC);
      await assert.rejects(client.runs.get(thread, first.run_id), { status: 404 });
      assert.deepEqual(await listed(client, thread), { [second.run_id]: "success" });
    });

    test("a burst of interrupts keeps every input", async () => {
      const thread = await newThread(client);
      const runs = [];
      for (let n = 0; n < 6; n++) {
        const payload = { input: human(`m${n}`), multitaskStrategy: "interrupt" };
        runs.push(await client.runs.create(thread, "slow", payload));
      }
      await client.runs.join(thread, runs.at(-1).run_id);
      const statuses = await listed(client, thread);
      assert.deepEqual(
        runs.map((run) => statuses[run.run_id]),
        [...Array(5).fill("interrupted"), "success"],
      );
      const said = (await contents(client, thread)).filter((text) => text.startsWith("m"));
      assert.deepEqual(said, ["m0", "m1", "m2", "m3", "m4", "m5"]);
    });

    test("cancel, waiting and not", async () => {
      const thread = await newThread(client);
      const input = human("a", { delay: 5 });
      const first = await client.runs.create(thread, "slow", { input });
      await until(async () => (await contents(client, thread)).includes("a"));
      await client.runs.cancel(thread, first.run_id, true);
      assert.equal((await client.runs.get(thread, first.run_id)).status, "interrupted");
      assert.equal((await client.threads.get(thread)).status, "interrupted");
      const second = await client.runs.create(thread, "slow", { input });
      await client.runs.cancel(thread, second.run_id, false, "rollback");
      await until(async () => !(second.run_id in (await listed(client, thread))));
      assert.equal(await rests(client, thread), "interrupted");
      await assert.rejects(client.runs.cancel(thread, first.run_id), { status: 404 });
    });
  });
}
