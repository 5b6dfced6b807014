import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { describeBundle, fitsBudget } from "../../scripts/bundle-budget.ts";
import type { WorkerBundle } from "../../scripts/wrangler.ts";
import { buildDeployedWorker, type RunningWorkerd, startWorkerd } from "../support/workerd.ts";
import { type ErrorAnswer, eventually, TEST_ENV } from "./support/edge-harness.ts";
import { type FakeNeon, startFakeNeon } from "./support/fake-neon.ts";
import {
  answerTo,
  replyTo,
  type ScriptedBackend,
  startScriptedBackend,
  streamOf,
  untilAborted,
  unusedUrl,
} from "./support/scripted-backend.ts";

let directory: string;
let bundle: WorkerBundle;
let backend: ScriptedBackend;
let neon: FakeNeon;
let worker: RunningWorkerd;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "parley-worker-"));
  [bundle, backend, neon] = await Promise.all([
    buildDeployedWorker(directory),
    startScriptedBackend(),
    startFakeNeon(),
  ]);
  worker = await start({ BACKEND_URLS: `${await unusedUrl()},${backend.url}` });
}, 60_000);
afterAll(async () => {
  await worker?.stop();
  await Promise.all([backend?.stop(), neon?.stop(), rm(directory, { recursive: true })]);
});
beforeEach(() => {
  backend.calls.length = 0;
  backend.script.processMessage = (message) => replyTo(message, "hello back");
  backend.script.streamReply = (message) => streamOf(message, ["hel", "lo"]);
});

function start(variables: Record<string, string>): Promise<RunningWorkerd> {
  return startWorkerd({
    modulePath: bundle.path,
    bindings: { ...TEST_ENV, DATABASE_ENDPOINT: neon.url, ...variables },
  });
}

function post(init: RequestInit = {}, headers: Record<string, string> = {}, to = worker) {
  return fetch(`${to.url}/api/v1/a2a/message`, {
    method: "POST",
    body: JSON.stringify({ receiverId: "assistant", text: "hello" }),
    ...init,
    headers: { authorization: `Bearer ${neon.apiKey}`, "content-type": "application/json", ...headers },
  });
}

/** The same request on a socket of its own, which can be reset. */
async function openRequest(headers: Record<string, string>): Promise<Socket> {
  const body = JSON.stringify({ receiverId: "assistant", text: "hello" });
  const head = Object.entries({
    ...headers,
    host: "edge",
    authorization: `Bearer ${neon.apiKey}`,
    "content-type": "application/json",
    "content-length": String(body.length),
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  const socket = connect(Number(new URL(worker.url).port), "127.0.0.1");
  await once(socket, "connect");
  socket.write(`POST /api/v1/a2a/message HTTP/1.1\r\n${head.join("")}\r\n${body}`);
  return socket;
}

function logLines(of = worker): Record<string, unknown>[] {
  return of.logs.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
}

describe("the Worker as it is deployed, in workerd", () => {
  it("keeps to the budget of its bundle", () => {
    expect(fitsBudget(bundle), describeBundle(bundle)).toBe(true);
  });

  it("is healthy, and ready as long as one backend answers", async () => {
    expect(await (await fetch(`${worker.url}/healthz`)).json()).toEqual({ status: "ok" });
    const answer = await fetch(`${worker.url}/readyz`);
    expect(await answer.json()).toMatchObject({
      status: "ready",
      dependencies: [{ status: "ok" }, { status: "failing" }, { status: "ok" }],
    });
    expect(answer.status).toBe(200);
  });

  it("answers messages, also while one of its addresses is down, and logs them", async () => {
    for (let i = 0; i < 12; i++) {
      const requestId = `worker-test-${i}`;
      const answer = await post({}, { "x-request-id": requestId });
      expect({ status: answer.status, text: await answer.text() }).toMatchObject({ status: 200 });
      expect(answer.headers.get("x-request-id")).toBe(requestId);
      expect(answer.headers.get("parley-model")).toBe("openai/small");
    }
    await eventually(() => logLines().some(({ requestId }) => requestId === "worker-test-11"));
    // The breaker of the address that is down has opened by now: state outlives a request.
    const attempts = logLines().flatMap((line) => (line["attempts"] ? [line["attempts"]] : []));
    expect(attempts).toContain(2);
    expect(attempts.slice(-2)).toEqual([1, 1]);
  });

  it("lists agents", async () => {
    const headers = { authorization: `Bearer ${neon.apiKey}` };
    const answer = await fetch(`${worker.url}/api/v1/agents`, { headers });
    expect(await answer.json()).toMatchObject({ agents: [{ id: "assistant", kind: "model" }] });
  });

  it("streams events as they come", async () => {
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    backend.script.streamReply = async function* (message) {
      yield answerTo(message, { sequence: 1, body: { case: "delta", value: "first" } });
      await gate;
      yield* streamOf(message, ["second"]);
    };
    const answer = await post({}, { accept: "text/event-stream" });
    expect(answer.status).toBe(200);
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    expect((await reader?.read())?.value).toMatch(/^id: 1\nevent: delta\ndata: .*first/);
    release();
    let rest = "";
    for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) rest += next.value;
    expect(rest).toMatch(/event: content\ndata: .*\n\n$/);
  });

  it.each(["text/event-stream", "application/json"])(
    "ends a request when its client goes away, and with the request's time the backend's call (%s)",
    async (accept) => {
      backend.script.streamReply = async function* (message, { signal }) {
        yield answerTo(message, { sequence: 1, body: { case: "delta", value: "first" } });
        await untilAborted(signal);
      };
      backend.script.processMessage = async (message, { signal }) => {
        await untilAborted(signal);
        return message;
      };
      const requestId = `gone-${accept.replace("/", "-")}`;
      const client = await openRequest({ accept, "x-request-id": requestId, "parley-timeout-ms": "1500" });
      await eventually(() => backend.calls.length === 1);
      // workerd takes a mere FIN for the half-close that HTTP/1.1 allows, and notices at its next write.
      client.resetAndDestroy();
      await eventually(() => logLines().some((line) => line["requestId"] === requestId));
      expect(backend.calls[0]?.signal.aborted).toBe(false);
      expect(logLines().find((line) => line["requestId"] === requestId)).toMatchObject({
        code: "canceled",
      });
      await expect.poll(() => backend.calls[0]?.signal.aborted, { timeout: 5_000 }).toBe(true);
    },
  );

  it("cuts an oversized body off, without waiting for its end", async () => {
    const chunk = new Uint8Array(65_536).fill(0x20);
    let chunksLeft = 17;
    const body = new ReadableStream<Uint8Array>({
      // One chunk more than the limit has, and then neither more nor an end.
      pull: (controller) => (chunksLeft-- > 0 ? controller.enqueue(chunk) : new Promise(() => {})),
    });
    const answer = await post({ body, duplex: "half" } as RequestInit);
    expect(answer.status).toBe(413);
    expect((await answer.json()) as ErrorAnswer).toMatchObject({ error: { reason: "body-too-large" } });
    expect((await post()).status).toBe(200);
  });

  it("keeps to the request's deadline", async () => {
    backend.script.processMessage = async (message, { signal }) => {
      await untilAborted(signal);
      return message;
    };
    const answer = await post({}, { "parley-timeout-ms": "200" });
    expect(answer.status).toBe(504);
  });

  it("writes nothing secret", () => {
    expect(worker.logs.join("\n")).not.toContain(neon.apiKey.slice(-43));
    expect(worker.logs.join("\n")).not.toMatch(/hunter2|a-secret-of-the-tests|eyJ/);
  });
});

describe("a Worker without Cloudflare before it", () => {
  /** The status of a wrong guess at a key, from an address of loopback, claiming another one. */
  async function guess(localAddress: string, claimed: string): Promise<number | undefined> {
    const call = request(`${worker.url}/api/v1/agents`, {
      localAddress,
      headers: {
        authorization: `Bearer parley_${"a".repeat(12)}_${"B".repeat(43)}`,
        "cf-connecting-ip": claimed,
        "x-forwarded-for": claimed,
      },
    });
    const [answer] = await once(call.end(), "response");
    answer.resume();
    return answer.statusCode;
  }

  it("slows guesses by the address of the connection, whatever address their headers claim", async () => {
    for (let i = 0; i < 10; i++) expect(await guess("127.0.0.1", `192.0.2.${i}`)).toBe(401);
    expect(await guess("127.0.0.1", "192.0.2.99")).toBe(429);
    expect(await guess("127.0.0.2", "127.0.0.1")).toBe(401);
  });
});

describe("a Worker that cannot reach anything", () => {
  it("says so, and leaves a backend alone whose breaker is open", async () => {
    const lonely = await start({ BACKEND_URLS: await unusedUrl() });
    try {
      const answers = [];
      for (let i = 0; i < 3; i++) answers.push(await post({}, {}, lonely));
      expect(answers.map(({ status }) => status)).toEqual([503, 503, 503]);
      expect((await answers[2]?.json()) as ErrorAnswer).toMatchObject({
        error: { reason: "all-backends-down", details: { presetReply: "Back soon." } },
      });
    } finally {
      await lonely.stop();
    }
  });

  it("refuses everything when its configuration is broken, and names all that is missing", async () => {
    const broken = await startWorkerd({ modulePath: bundle.path, bindings: {} });
    try {
      expect((await fetch(`${broken.url}/healthz`)).status).toBe(200);
      expect((await fetch(`${broken.url}/readyz`)).status).toBe(500);
      await eventually(() => broken.logs.length >= 2);
      expect(broken.logs.join("\n")).toMatch(
        /BACKEND_URLS must be.*BACKEND_TOKEN_SECRET must be.*DATABASE_URL must be/,
      );
    } finally {
      await broken.stop();
    }
  });
});
