// Servers under test, both published clients, and small steps that nearly every test takes.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { Client as Client1 } from "sdk-1";
import { Client as Client2 } from "sdk-2";

export { sleep };

// Both are "newest" to somebody: 2.0.0 has npm's `latest` tag, 1.15.0 is the later one.
export const SDKS = [
  ["2.0.0", Client2],
  ["1.15.0", Client1],
];

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
const START_MS = 60_000;

function binary() {
  const named = process.env.RUNLOOM_BIN;
  if (named) return path.resolve(ROOT, named);
  const built = ["release", "debug"].map((kind) => path.join(ROOT, "target", kind, "runloom"));
  const found = built.find((file) => existsSync(file));
  if (!found) throw new Error("no runloom binary: build it, or set RUNLOOM_BIN or RUNLOOM_URLS");
  return found;
}

/** Which graphs a server of ours serves, and where it finds Python for them. */
function served() {
  const project = process.env.RUNLOOM_TEST_CONFIG;
  if (!project) return { flags: ["--test-graphs"], env: process.env };
  const VIRTUAL_ENV = process.env.VIRTUAL_ENV ?? path.join(ROOT, ".venv");
  return { flags: ["--config", path.join(ROOT, project)], env: { ...process.env, VIRTUAL_ENV } };
}

function printedUrl(server) {
  return new Promise((resolve, reject) => {
    let printed = "";
    const timer = setTimeout(() => reject(new Error(`no URL printed:\n${printed}`)), START_MS);
    server.stdout.setEncoding("utf8");
    server.stdout.on("data", (text) => {
      printed += text;
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(printed);
      if (!found) return;
      clearTimeout(timer);
      resolve(found[0]);
    });
    server.once("exit", (code) => {
      clearTimeout(timer);
      reject(new Error(`the server ended with ${code}:\n${printed}`));
    });
  });
}

/** The servers given by RUNLOOM_URLS, or one of our own; `stop` ends what was started. */
export async function startServer() {
  const named = (process.env.RUNLOOM_URLS ?? "").split(",").map((url) => url.trim());
  const urls = named.filter(Boolean).map((url) => url.replace(/\/$/, ""));
  if (urls.length > 0) return { urls, stop: async () => {} };
  const scratch = await mkdtemp(path.join(tmpdir(), "runloom-js-"));
  const flags = ["--host", "127.0.0.1", "--port", "0", "--data", path.join(scratch, "data")];
  const graphs = served();
  const server = spawn(binary(), ["dev", ...graphs.flags, ...flags], {
    stdio: ["ignore", "pipe", "ignore"],
    env: graphs.env,
  });
  const stop = async () => {
    if (server.exitCode === null && server.signalCode === null) {
      const ended = new Promise((resolve) => server.once("exit", resolve));
      server.kill("SIGTERM");
      await Promise.race([ended, sleep(10_000, undefined, { ref: false })]);
      server.kill("SIGKILL");
    }
    await rm(scratch, { recursive: true, force: true });
  };
  try {
    return { urls: [await printedUrl(server)], stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

let turn = 0;

/** `fetch` that sends each request to the next of several servers. */
export function fetchInTurn(urls) {
  return (input, init) => {
    const asked = new URL(input instanceof Request ? input.url : input);
    const server = new URL(urls[turn++ % urls.length]);
    asked.protocol = server.protocol;
    asked.host = server.host;
    return fetch(input instanceof Request ? new Request(asked, input) : asked, init);
  };
}

/** The published client; over several servers only its fetch is ours. */
export function makeClient(Client, urls) {
  const callerOptions = urls.length > 1 ? { fetch: fetchInTurn(urls) } : {};
  return new Client({ apiUrl: urls[0], apiKey: null, callerOptions });
}

/** Graph input: one human message, and other state keys. */
export function human(content, state = {}) {
  return { messages: [{ role: "human", content }], ...state };
}

export async function collect(stream) {
  const parts = [];
  for await (const part of stream) if (part.event !== "end") parts.push(part);
  return parts;
}

/** Polls until the probe gives something true. */
export async function until(probe, ms = 15_000) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > end) throw new Error(`gave up after ${ms} ms`);
    await sleep(20);
  }
}

export async function stateMessages(client, thread) {
  return (await client.threads.getState(thread)).values.messages ?? [];
}

export async function contents(client, thread) {
  return (await stateMessages(client, thread)).map((message) => message.content);
}

export async function newThread(client) {
  return (await client.threads.create()).thread_id;
}

/** Run id to status, of all runs of a thread. */
export async function listed(client, thread) {
  const runs = await client.runs.list(thread, { limit: 1000 });
  return Object.fromEntries(runs.map((run) => [run.run_id, run.status]));
}

/** Waits until nothing is in flight; the thread's status then. */
export async function rests(client, thread) {
  return until(async () => {
    const { status } = await client.threads.get(thread);
    return status === "busy" ? null : status;
  });
}
