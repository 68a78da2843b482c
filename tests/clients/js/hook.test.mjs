// What the legacy `useStream` hook sends, request by request: a browser's view of double texting.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { fetchInTurn, human, startServer, until } from "./support.mjs";

let server;
let send;
before(async () => {
  server = await startServer();
  send = fetchInTurn(server.urls);
});
after(() => server?.stop());

function call(method, path, body, more = {}) {
  const headers = { "content-type": "application/json", ...more.headers };
  return send(server.urls[0] + path, {
    ...more,
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
}

async function json(method, path, body) {
  const answer = await call(method, path, body);
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.json();
}

/** Events of a response as they come; stops quietly when the request is aborted. */
async function* events(answer) {
  let rest = "";
  const decoder = new TextDecoder();
  try {
    for await (const bytes of answer.body) {
      rest += decoder.decode(bytes, { stream: true });
      const blocks = rest.split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const fields = block.split(/\r?\n/).filter((line) => line && !line.startsWith(":"));
        if (fields.length === 0) continue;
        const event = Object.fromEntries(fields.map((line) => line.split(/: (.*)/s, 2)));
        if (event.event !== "end") yield { ...event, data: JSON.parse(event.data) };
      }
    }
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
}

async function all(answer) {
  const got = [];
  for await (const event of events(answer)) got.push(event);
  return got;
}

const said = async (thread) => {
  const state = await json("GET", `/threads/${thread}/state`);
  return (state.values.messages ?? []).map((message) => message.content);
};

/** A submit of the hook: opens the stream, remembers events, can be aborted. */
async function submit(thread, text, more = {}, state = {}) {
  const abort = new AbortController();
  const body = {
    assistant_id: "tokens",
    input: human(text, { count: 200, rate: 50, ...state }),
    stream_mode: ["messages-tuple", "values"],
    stream_resumable: false,
    on_disconnect: "cancel",
    ...more,
  };
  const path = `/threads/${thread}/runs/stream`;
  const answer = await call("POST", path, body, { signal: abort.signal });
  assert.equal(answer.status, 200);
  const run = /\/runs\/(.+)/.exec(answer.headers.get("content-location"))[1];
  const got = [];
  const done = (async () => {
    for await (const event of events(answer)) got.push(event);
  })();
  return { run, got, done, abort: () => abort.abort() };
}

const status = async (thread, run) => (await json("GET", `/threads/${thread}/runs/${run}`)).status;

describe("the legacy hook", { concurrency: true }, () => {
  test("a second submit aborts the first and interrupts it", async () => {
    const { thread_id: thread } = await json("POST", "/threads", {});
    const first = await submit(thread, "a");
    await until(() => first.got.filter((event) => event.event === "messages").length >= 5);
    first.abort();
    const more = { multitask_strategy: "interrupt" };
    const second = await submit(thread, "b", more, { count: 3 });
    await first.done;
    await second.done;
    assert.equal(second.got[0].data.run_id, second.run);
    assert.ok(!second.got.some((event) => event.event === "error"));
    // The liveness check of the newest clients finds both at rest.
    assert.equal(await status(thread, second.run), "success");
    assert.equal(await status(thread, first.run), "interrupted");
    const values = second.got.filter((event) => event.event === "values").at(-1).data;
    assert.deepEqual(values.messages.map((message) => message.content), await said(thread));
    const heard = await said(thread);
    assert.equal(heard[0], "a");
    assert.equal(heard.at(-2), "b");
    const history = await json("POST", `/threads/${thread}/history`, { limit: 10 });
    assert.equal(history[0].values.messages.length, heard.length);
    assert.equal((await json("GET", `/threads/${thread}`)).status, "idle");
  });

  test("leaving the page cancels the run", async () => {
    const { thread_id: thread } = await json("POST", "/threads", {});
    const first = await submit(thread, "a");
    await until(() => first.got.length >= 3);
    first.abort();
    await first.done;
    await until(async () => (await status(thread, first.run)) === "interrupted");
  });

  test("a remounted page finds its stream again", async () => {
    const { thread_id: thread } = await json("POST", "/threads", {});
    const keep = { stream_resumable: true, on_disconnect: "continue" };
    const first = await submit(thread, "a", keep, { count: 60 });
    await until(() => first.got.length >= 5);
    first.abort();
    await first.done;
    const modes = "stream_mode=messages-tuple&stream_mode=values&cancel_on_disconnect=0";
    const path = `/threads/${thread}/runs/${first.run}/stream?${modes}`;
    const from = { headers: { "last-event-id": "-1" } };
    const answer = await call("GET", path, undefined, from);
    const again = await all(answer);
    assert.deepEqual(again.slice(0, first.got.length), first.got);
    const text = again
      .filter((event) => event.event === "messages")
      .map((event) => event.data[0].content)
      .join("");
    assert.equal(text, (await said(thread)).at(-1));
    assert.equal(await status(thread, first.run), "success");
  });

  test("the stop button", async () => {
    const { thread_id: thread } = await json("POST", "/threads", {});
    const first = await submit(thread, "a", { stream_resumable: true, on_disconnect: "continue" });
    await until(() => first.got.length >= 5);
    first.abort();
    const query = "wait=0&action=interrupt";
    const stopped = await call("POST", `/threads/${thread}/runs/${first.run}/cancel?${query}`);
    assert.equal(stopped.status, 202);
    await until(async () => (await status(thread, first.run)) === "interrupted");
  });

  test("a server-side queue: list, then remove an item", async () => {
    const { thread_id: thread } = await json("POST", "/threads", {});
    const first = await submit(thread, "a", {}, { count: 40 });
    await until(() => first.got.length >= 1);
    const queued = [];
    for (const text of ["b", "c"]) {
      const body = {
        assistant_id: "echo",
        input: human(text),
        multitask_strategy: "enqueue",
        stream_resumable: true,
      };
      queued.push((await json("POST", `/threads/${thread}/runs`, body)).run_id);
    }
    const keys = ["run_id", "kwargs", "created_at", "multitask_strategy"];
    const select = keys.map((key) => `select=${key}`).join("&");
    const path = `/threads/${thread}/runs?limit=1000&status=pending&${select}`;
    const waiting = await json("GET", path);
    assert.deepEqual(waiting.map((run) => run.run_id).sort(), [...queued].sort());
    const texts = waiting.map((run) => run.kwargs.input.messages[0].content).sort();
    assert.deepEqual(texts, ["b", "c"]);
    const removed = await call("POST", `/threads/${thread}/runs/${queued[0]}/cancel?wait=0`);
    assert.equal(removed.status, 202);
    const joined = await call("GET", `/threads/${thread}/runs/${queued[1]}/stream`, undefined, {
      headers: { "last-event-id": "-1" },
    });
    const got = await all(joined);
    assert.equal(got[0].data.run_id, queued[1]);
    await first.done;
    const heard = await said(thread);
    assert.deepEqual(heard.slice(-2), ["c", "echo: c"]);
    assert.ok(!heard.includes("b"), "a removed message is not said");
  });

  test("browsers may read where a stream goes on", async () => {
    const { thread_id: thread } = await json("POST", "/threads", {});
    const body = { assistant_id: "echo", input: human("a") };
    const headers = { origin: "http://localhost:3000" };
    const answer = await call("POST", `/threads/${thread}/runs/stream`, body, { headers });
    await all(answer);
    const exposed = answer.headers.get("access-control-expose-headers").toLowerCase();
    assert.match(exposed, /(^|,\s*)location/);
    assert.match(exposed, /content-location/);
    assert.match(answer.headers.get("location"), /^\/threads\/[^/]+\/runs\/[^/]+\/stream$/);
  });
});
