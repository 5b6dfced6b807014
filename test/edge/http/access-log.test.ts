import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { jsonLine } from "../../../edge/http/json-line.ts";
import { createEdgeHarness, type EdgeHarness } from "../support/edge-harness.ts";
import {
  foreignError,
  replyTo,
  type ScriptedBackend,
  startScriptedBackend,
} from "../support/scripted-backend.ts";

const HELLO = { receiverId: "assistant", text: "my-private-thought" };

let backend: ScriptedBackend;
let edge: EdgeHarness;

beforeAll(async () => {
  backend = await startScriptedBackend();
});
afterAll(() => backend.stop());
beforeEach(async () => {
  backend.script.processMessage = (message) => replyTo(message, "my-private-answer");
  edge = await createEdgeHarness({ BACKEND_URLS: backend.url });
});

describe("the log", () => {
  it("has one line for each request, with what is known of it", async () => {
    const answer = await edge.post(HELLO, {
      headers: {
        "x-request-id": "request-0001",
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      },
    });
    expect(answer.status).toBe(200);
    expect(edge.lines).toEqual([
      {
        level: "info",
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        msg: "request",
        requestId: "request-0001",
        traceId: "0af7651916cd43dd8448eb211c80319c",
        method: "POST",
        route: "/api/v1/a2a/message",
        status: 200,
        durationMs: expect.any(Number),
        tenantId: "default",
        subject: "alice",
        keyId: edge.apiKey.slice(7, 19),
        receiver: "assistant",
        agentId: "assistant",
        backend: backend.host,
        attempts: 1,
        limiter: "memory",
        model: "openai/small",
      },
    ]);
  });

  it("holds no key, no secret, no token and no content, whatever the outcome", async () => {
    await edge.post(HELLO);
    await edge.post("my-private-thought");
    await edge.post({ ...HELLO, text: { a: "my-private-thought" } });
    await edge.post(HELLO, { headers: { authorization: `Bearer ${edge.apiKey}x` } });
    await edge.request(`/api/v1/agents/${edge.apiKey}`);
    await edge.request(`/${edge.apiKey}`, { headers: { "x-request-id": edge.apiKey } });
    backend.script.processMessage = () => {
      throw foreignError();
    };
    await edge.post(HELLO);
    expect(edge.lines).toHaveLength(7);
    const text = JSON.stringify(edge.lines);
    expect(text).not.toContain(edge.apiKey.slice(-43));
    expect(text).not.toMatch(/my-private|a-secret-of-the-tests|eyJ|hunter2/);
    expect(edge.lines.at(-1)).toMatchObject({
      level: "error",
      status: 503,
      code: "unavailable",
      err: { message: expect.stringContaining("10.1.2.3") },
    });
  });

  it("names the route of refused and unknown paths", async () => {
    await edge.request("/healthz");
    await edge.request("/api/v1/agents", { method: "PATCH" });
    await edge.request("/api/v1/nothing");
    expect(edge.lines.map(({ route, status, level }) => [route, status, level])).toEqual([
      ["/healthz", 200, "info"],
      ["/api/v1/agents", 405, "info"],
      ["unmatched", 404, "info"],
    ]);
  });

  it("is as long as LOG_LEVEL asks", async () => {
    edge = await createEdgeHarness({ BACKEND_URLS: backend.url, LOG_LEVEL: "error" });
    await edge.post(HELLO);
    await edge.post("{");
    expect(edge.lines).toEqual([]);
    edge.directory.failing = true;
    await edge.post(HELLO);
    expect(edge.lines).toHaveLength(1);
  });

  it("masks what looks like a credential in any text", () => {
    const key = `parley_${"k".repeat(12)}_${"S".repeat(43)}`;
    const line = jsonLine({
      a: `bad key ${key}, sorry`,
      b: "connect postgres://user:pass@host/db",
      c: "token eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl",
      d: undefined,
    });
    expect(JSON.parse(line)).toEqual({
      a: `bad key parley_${"k".repeat(12)}_***, sorry`,
      b: "connect postgres://***@host/db",
      c: "token ***",
    });
  });
});
