/** Streams, tasks and completions on the Worker as it is deployed, in workerd, byte by byte: also what goes wrong. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { buildDeployedWorker, type RunningWorkerd, startWorkerd } from "../support/workerd.ts";
import { TEST_ENV } from "./support/edge-harness.ts";
import { type FakeNeon, startFakeNeon } from "./support/fake-neon.ts";
import {
  replyTo,
  restOfReply,
  type ScriptedBackend,
  startScriptedBackend,
  streamOf,
  untilAborted,
} from "./support/scripted-backend.ts";

const COMPLETION = { model: "assistant", messages: [{ role: "user", content: "hello" }] };
const MESSAGE = { receiverId: "assistant", text: "hello" };
const POSTS = ["/v1/chat/completions", "/api/v1/a2a/message"] as const;

let directory: string;
let backend: ScriptedBackend;
let neon: FakeNeon;
let worker: RunningWorkerd;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "parley-worker-"));
  const [bundle, ...servers] = await Promise.all([
    buildDeployedWorker(directory),
    startScriptedBackend(),
    startFakeNeon(),
  ]);
  [backend, neon] = servers;
  const bindings = { ...TEST_ENV, DATABASE_ENDPOINT: neon.url, BACKEND_URLS: backend.url };
  worker = await startWorkerd({ modulePath: bundle.path, bindings });
}, 60_000);
afterAll(async () => {
  await worker?.stop();
  await Promise.all([backend?.stop(), neon?.stop(), rm(directory, { recursive: true })]);
});
beforeEach(() => {
  backend.calls.length = 0;
  backend.script.processMessage = (message) => replyTo(message, "hello back");
  backend.script.streamReply = (message) => streamOf(message, ["hel", "lo"]);
  backend.script.resumeReply = restOfReply;
});

function post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(worker.url + path, {
    method: "POST",
    body: typeof body === "string" || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
    headers: { authorization: `Bearer ${neon.apiKey}`, "content-type": "application/json", ...headers },
  });
}

/** Sends a request on a socket of its own, head and body as they are. */
async function send(path: string, body: string, headers: Record<string, string> = {}): Promise<Socket> {
  const socket = connect(Number(new URL(worker.url).port), "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  const head = Object.entries({
    ...{ host: "edge", authorization: `Bearer ${neon.apiKey}`, "content-type": "application/json" },
    "content-length": String(Buffer.byteLength(body)),
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`POST ${path} HTTP/1.1\r\n${head.join("")}\r\n${body}`);
  return socket;
}

/** All that comes until the other side ends. */
async function received(socket: Socket): Promise<string> {
  let text = "";
  for await (const bytes of socket) text += bytes;
  return text;
}

/** The other processes here are as slow as the machine is busy. */
const eventually = (condition: () => boolean) => expect.poll(condition, { timeout: 10_000 }).toBe(true);

const methodsCalled = () => backend.calls.map(({ method }) => method);
const idsIn = (text: string) => [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));

describe("a stream of chat completions", () => {
  it("has these bytes", async () => {
    const socket = await send(POSTS[0], JSON.stringify({ ...COMPLETION, stream: true }), {
      connection: "close",
    });
    const [head = "", ...rest] = (await received(socket)).split("\r\n\r\n");
    expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(head).toMatch(/\r\nContent-Type: text\/event-stream(?:\r\n|$)/i);
    expect(head).toMatch(/\r\nCache-Control: no-store/i);
    const lines = rest
      .join("")
      .split("\n")
      .filter((line) => line.startsWith("data: "));
    expect(lines.at(-1)).toBe("data: [DONE]");
    expect(lines.slice(0, -1).map((line) => Object.keys(JSON.parse(line.slice(6))).toSorted())).toEqual([
      ...Array(3).fill(["choices", "created", "id", "model", "object"]),
      ["choices", "created", "id", "model", "object", "parley"],
    ]);
  });

  it("stops its task when its client resets the connection", async () => {
    backend.script.streamReply = async function* (message, { signal }) {
      for await (const event of streamOf(message, ["half"])) {
        if (event.body.case === "content") await untilAborted(signal);
        yield event;
      }
    };
    const socket = await send(POSTS[0], JSON.stringify({ ...COMPLETION, stream: true }));
    await once(socket, "data");
    socket.resetAndDestroy();
    await eventually(() => methodsCalled().includes("cancelReply"));
  });
});

describe("a stream whose backend's connection breaks, in workerd", () => {
  it.each([1, 2, 3])("after %i events goes on", async (count) => {
    backend.script.streamReply = async function* (message) {
      for await (const event of streamOf(message, ["hel", "lo"])) {
        if (event.sequence > count) {
          await new Promise((resolve) => setTimeout(resolve, 10));
          backend.cut();
          throw new Error("cut");
        }
        yield event;
      }
    };
    const answer = await post("/api/v1/a2a/message", MESSAGE, { accept: "text/event-stream" });
    expect(idsIn(await answer.text())).toEqual([1, 2, 3, 4]);
    expect(new Set(methodsCalled())).toEqual(new Set(["streamReply", "resumeReply"]));
    backend.calls.length = 0;
    const completion = await post(POSTS[0], { ...COMPLETION, stream: true });
    expect(await completion.text()).toMatch(/data: \[DONE\]\n\n$/);
    expect(new Set(methodsCalled())).toEqual(new Set(["streamReply", "resumeReply"]));
  });
});

describe("a task, in workerd", () => {
  it("is started, followed in the background for its cost, and followed by its caller", async () => {
    const answer = await post("/api/v1/a2a/message", MESSAGE, { prefer: "respond-async" });
    expect(answer.status).toBe(202);
    await eventually(() => methodsCalled().includes("resumeReply"));
    const headers = { authorization: `Bearer ${neon.apiKey}`, "last-event-id": "2" };
    const events = await fetch(`${worker.url}${answer.headers.get("location")}/events`, { headers });
    expect(idsIn(await events.text())).toEqual([3, 4]);
  });

  it("goes on when its follower resets the connection", async () => {
    backend.script.streamReply = async function* (message, { signal }) {
      for await (const event of streamOf(message, ["half"])) {
        if (event.body.case === "content") await untilAborted(signal);
        yield event;
      }
    };
    const socket = await send("/api/v1/a2a/message", JSON.stringify(MESSAGE), {
      accept: "text/event-stream",
      "x-request-id": "the-leaver",
    });
    await once(socket, "data");
    socket.resetAndDestroy();
    await eventually(() =>
      worker.logs.some((line) => line.includes("the-leaver") && line.includes("canceled")),
    );
    expect(methodsCalled()).toEqual(["streamReply"]);
  });
});

describe.each(POSTS)("POST %s", (path) => {
  const good = path === POSTS[0] ? COMPLETION : MESSAGE;

  it.each<[string, string | Uint8Array, number]>([
    ["binary", new Uint8Array([0xff, 0xfe, 0x00, 0x01]), 400],
    ["half a character", new Uint8Array([...Buffer.from('{"a":"'), 0xc3]), 400],
    ["a list", "[]", 400],
    ["a number", "1", 400],
    ["a text that is cut off", '{"model":"assistant","messages":[', 400],
    ["a depth of 5,000", `{"messages":${"[".repeat(5_000)}${"]".repeat(5_000)}}`, 400],
    ["one byte too many", `"${"x".repeat(1_048_575)}"`, 413],
    ["keys of a prototype", '{"__proto__":{"model":"assistant"},"constructor":1}', 400],
  ])("refuses %s, and serves the next request", async (_, body, status) => {
    const answer = await post(path, body);
    expect(answer.status).toBe(status);
    expect(await answer.json()).toMatchObject({ error: { message: expect.stringMatching(/.{10}/) } });
    expect((await post(path, good)).status).toBe(200);
  });

  it("answers who has closed its half of the connection after the request", async () => {
    const socket = await send(path, JSON.stringify(good), { connection: "close" });
    socket.end();
    expect(await received(socket)).toMatch(/^HTTP\/1\.1 200 OK[\s\S]*hello back/);
  });

  it("does not wait for the rest of a body whose sender has closed its half", async () => {
    const socket = await send(path, JSON.stringify(good).slice(0, 20), { "content-length": "500" });
    socket.end();
    expect(await received(socket)).not.toMatch(/^HTTP\/1\.1 [25]/);
    expect((await post(path, good)).status).toBe(200);
    expect(methodsCalled()).toEqual(["processMessage"]);
  });
});

describe("streams in workerd whose key is revoked", () => {
  it("end with an error within 60 s, by the directory's own word, and nothing is cut before", async () => {
    const { apiKey, revoke } = await neon.addKey();
    backend.script.streamReply = async function* (message, { signal }) {
      for await (const event of streamOf(message, ["hel"])) if (event.sequence < 3) yield event;
      await untilAborted(signal);
    };
    const headers = {
      authorization: `Bearer ${apiKey}`,
      accept: "text/event-stream",
      "parley-timeout-ms": "100000",
    };
    const answers = await Promise.all([
      post(POSTS[0], { ...COMPLETION, stream: true }, headers),
      post(POSTS[1], MESSAGE, headers),
    ]);
    const openedAtMs = performance.now();
    const texts = answers.map((answer) => answer.text());
    revoke();
    const [completion, events] = await Promise.all(texts);
    // The first checks go by what was known when the streams began.
    expect(performance.now() - openedAtMs).toBeGreaterThan(9_000);
    expect(performance.now() - openedAtMs).toBeLessThan(60_000);
    expect(completion).toContain("invalid_api_key");
    expect(events).toMatch(/event: error\ndata: .*unauthenticated/);
  }, 90_000);
});
