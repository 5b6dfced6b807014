import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { importBackendTokenSecret, verifyBackendToken } from "../../../core/auth/backend-token.ts";
import { toConnectError } from "../../../core/errors/connect-errors.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { createEdgeHarness, type EdgeHarness, type ErrorAnswer, TEST_ENV } from "../support/edge-harness.ts";
import {
  replyTo,
  type ScriptedBackend,
  startScriptedBackend,
  streamOf,
} from "../support/scripted-backend.ts";

const HELLO = { receiverId: "assistant", text: "hello" };

let backend: ScriptedBackend;
let edge: EdgeHarness;

beforeAll(async () => {
  backend = await startScriptedBackend();
});
afterAll(() => backend.stop());
beforeEach(async () => {
  backend.calls.length = 0;
  backend.script.processMessage = (message) => replyTo(message, "hello back");
  backend.script.streamReply = (message) => streamOf(message, ["hel", "lo"]);
  edge = await createEdgeHarness({ BACKEND_URLS: backend.url });
});

describe("a message", () => {
  it("gets the agent's reply, with its text and model", async () => {
    const answer = await edge.post({ ...HELLO, contextId: "talk-1" });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("parley-model")).toBe("openai/small");
    expect(answer.headers.get("parley-degraded")).toBeNull();
    expect(await answer.json()).toMatchObject({
      senderId: "assistant",
      receiverId: "alice",
      contextId: "talk-1",
      text: "hello back",
      content: { parts: [{ text: "hello back" }] },
      metadata: { model: "openai/small" },
    });
  });

  it("is handed on whole, in snake case too, with an id of its own when it has none", async () => {
    await edge.post({ receiver_id: "assistant", context_id: "talk-1", text: "hello", unknown: 1 });
    await edge.post({ ...HELLO, messageId: "mine-1", metadata: { a: 1 } });
    const [first, second] = backend.calls.map(({ message }) => message);
    expect(first).toMatchObject({ receiverId: "assistant", contextId: "talk-1" });
    expect(first?.messageId).toMatch(/^[0-9a-f-]{36}$/);
    expect(first?.body).toMatchObject({ case: "content" });
    expect(second).toMatchObject({ messageId: "mine-1", metadata: { a: 1 } });
  });

  it("reaches the backend with a token for its caller, its request id and its trace", async () => {
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    await edge.post(HELLO, {
      headers: { "x-request-id": "request-0001", traceparent: `00-${traceId}-b7ad6b7169203331-00` },
    });
    const headers = backend.calls[0]?.headers;
    const key = await importBackendTokenSecret(TEST_ENV.BACKEND_TOKEN_SECRET);
    const token = headers?.get("parley-backend-token") ?? "";
    expect(await verifyBackendToken(key, token, Date.now())).toMatchObject({
      principal: { tenantId: "default", subject: "alice" },
      requestId: "request-0001",
    });
    expect(headers?.get("x-request-id")).toBe("request-0001");
    expect(headers?.get("traceparent")).toMatch(new RegExp(`^00-${traceId}-(?!b7ad6b7169203331)`));
    expect(headers?.get("authorization")).toBeNull();
  });

  it("says in a header that its reply is a makeshift", async () => {
    backend.script.processMessage = (message) => ({
      ...replyTo(message, "Back soon."),
      metadata: { degraded: "preset-reply" },
    });
    const answer = await edge.post(HELLO);
    expect(answer.headers.get("parley-degraded")).toBe("preset-reply");
    expect(answer.headers.get("parley-model")).toBeNull();
    expect(edge.lines.at(-1)).toMatchObject({ degraded: "preset-reply" });
  });

  it("is not failed by metadata that cannot stand in a header", async () => {
    backend.script.processMessage = (message) => ({
      ...replyTo(message, "hi"),
      metadata: { model: "a\r\nset-cookie: b", degraded: 7 },
    });
    const answer = await edge.post(HELLO);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("parley-model")).toBeNull();
    expect(answer.headers.get("set-cookie")).toBeNull();
  });

  it.each([
    ["*/*", "application/json"],
    ["application/*;q=0.5", "application/json"],
    ["text/event-stream", "text/event-stream"],
    ["text/event-stream;q=0.4, application/json;q=0.9", "application/json"],
    ["application/json;q=0.4, text/event-stream;q=0.9", "text/event-stream"],
    ["application/json, text/event-stream", "application/json"],
    ["text/html, text/event-stream", "text/event-stream"],
  ])("with Accept: %s is answered as %s", async (accept, contentType) => {
    const answer = await edge.post(HELLO, { headers: { accept } });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe(contentType);
    await answer.text();
  });
});

describe("an error of the backend's own", () => {
  it("reaches the caller with its message, reason, violations and time to retry", async () => {
    backend.script.processMessage = () => {
      throw toConnectError(
        new ParleyError("invalid_argument", "context_id is malformed", {
          reason: "bad-shape",
          details: { violations: [{ field: "context_id", description: "must match a pattern" }] },
        }),
        "r",
      );
    };
    const answer = await edge.post(HELLO);
    expect(answer.status).toBe(400);
    expect(((await answer.json()) as ErrorAnswer).error).toMatchObject({
      code: "invalid_argument",
      message: "context_id is malformed",
      reason: "bad-shape",
      details: { violations: [{ field: "context_id", description: "must match a pattern" }] },
    });
    expect(backend.calls).toHaveLength(1);
  });

  it("that asks to wait is passed on with Retry-After and not tried again", async () => {
    backend.script.processMessage = () => {
      throw toConnectError(
        new ParleyError("resource_exhausted", "too many at once", { retryAfterMs: 2300 }),
        "r",
      );
    };
    const answer = await edge.post(HELLO);
    expect(answer.status).toBe(429);
    expect(answer.headers.get("retry-after")).toBe("3");
    expect(((await answer.json()) as ErrorAnswer).error.retryAfterSeconds).toBe(3);
    expect(backend.calls).toHaveLength(1);
  });

  it("that refuses the edge's credential is internal, not the caller's fault", async () => {
    backend.script.processMessage = () => {
      throw toConnectError(new ParleyError("unauthenticated", "bad token"), "r");
    };
    const answer = await edge.post(HELLO);
    expect(answer.status).toBe(500);
    expect(await answer.text()).not.toContain("bad token");
    expect(JSON.stringify(edge.lines.at(-1))).toContain("bad token");
  });

  it("that is unknown leaves as an internal error, its text in the log only", async () => {
    edge.directory.findAgent = () => Promise.reject(new TypeError("x of undefined", { cause: "the cause" }));
    const answer = await edge.post(HELLO);
    expect(answer.status).toBe(500);
    expect(((await answer.json()) as ErrorAnswer).error).toEqual({
      code: "internal",
      message: "internal error; quote the request id when you report it",
      requestId: answer.headers.get("x-request-id"),
    });
    expect(edge.lines.at(-1)).toMatchObject({
      level: "error",
      code: "internal",
      err: { message: "TypeError: x of undefined < the cause" },
    });
    expect(JSON.stringify(edge.lines.at(-1))).toContain("message-route.test.ts");
  });
});
