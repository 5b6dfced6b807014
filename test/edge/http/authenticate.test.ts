import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createEdgeHarness, type EdgeHarness, type ErrorAnswer } from "../support/edge-harness.ts";
import { type ScriptedBackend, startScriptedBackend } from "../support/scripted-backend.ts";

const HELLO = { receiverId: "echo", text: "hello" };

let backend: ScriptedBackend;
let edge: EdgeHarness;

beforeAll(async () => {
  backend = await startScriptedBackend();
});
afterAll(() => backend.stop());
beforeEach(async () => {
  backend.calls.length = 0;
  edge = await createEdgeHarness({ BACKEND_URLS: backend.url });
});

describe("a request without a good key", () => {
  it.each<[string, (edge: EdgeHarness) => Promise<string> | string, string]>([
    ["no header", () => "", "missing"],
    ["another scheme", () => "Basic YWxpY2U6c2VjcmV0", "missing"],
    ["something that is no key", () => "Bearer opensesame", "malformed"],
    ["a key with a letter too many", (edge) => `Bearer ${edge.apiKey}x`, "malformed"],
    ["an unknown key", () => `Bearer parley_${"a".repeat(12)}_${"B".repeat(43)}`, "unknown-key"],
    ["a wrong secret", (edge) => `Bearer ${edge.apiKey.slice(0, -1)}_`.replace(/_$/, "Z"), "wrong-secret"],
    [
      "a revoked key",
      async (edge) => `Bearer ${await edge.directory.addKey({ revokedAtMs: Date.now() - 1 })}`,
      "revoked",
    ],
    [
      "an expired key",
      async (edge) => `Bearer ${await edge.directory.addKey({ expiresAtMs: Date.now() - 1 })}`,
      "expired",
    ],
  ])("(%s) gets the same answer as every other; only the log says why", async (_, header, reason) => {
    const authorization = await header(edge);
    const answer = await edge.post(HELLO, { headers: { authorization } });
    expect(answer.status).toBe(401);
    expect(answer.headers.get("www-authenticate")).toBe('Bearer realm="parley"');
    const { error } = (await answer.json()) as ErrorAnswer;
    expect(error).toEqual({
      code: "unauthenticated",
      message: "a valid API key is needed: send it as `Authorization: Bearer parley_…`",
      requestId: answer.headers.get("x-request-id"),
    });
    expect(edge.lines.at(-1)).toMatchObject({ status: 401, authFailure: reason });
    expect(JSON.stringify(edge.lines)).not.toContain(authorization.slice(7) || "never");
    expect(backend.calls).toHaveLength(0);
    expect((await edge.post(HELLO)).status).toBe(200);
  });

  it("is answered before its body is looked at", async () => {
    const answer = await edge.post("{not json", { headers: { authorization: "", "content-type": "text/x" } });
    expect(answer.status).toBe(401);
  });
});

describe("a directory that cannot be asked", () => {
  it("is unavailable, not a refusal", async () => {
    edge.directory.failing = true;
    const answer = await edge.post(HELLO);
    expect(answer.status).toBe(503);
    expect(((await answer.json()) as ErrorAnswer).error.code).toBe("unavailable");
    expect(answer.headers.get("www-authenticate")).toBeNull();
    expect(JSON.stringify(edge.lines)).not.toContain("hunter2");
    edge.directory.failing = false;
    expect((await edge.post(HELLO)).status).toBe(200);
  });
});

describe("what a key may do", () => {
  it.each([
    ["POST", "/api/v1/a2a/message", ["agents:read"], "messages:send"],
    ["GET", "/api/v1/agents", ["messages:send"], "agents:read"],
    ["GET", "/api/v1/agents/echo", ["messages:send"], "agents:read"],
  ])("%s %s needs its scope", async (method, path, scopes, missing) => {
    const key = await edge.directory.addKey({ scopes });
    const answer = await edge.request(path, { method, headers: { authorization: `Bearer ${key}` } });
    expect(answer.status).toBe(403);
    const { error } = (await answer.json()) as ErrorAnswer;
    expect(error.code).toBe("permission_denied");
    expect(error.message).toContain(missing);
  });
});

describe("the sender of a message", () => {
  it("is the caller when it names none, or itself", async () => {
    await edge.post(HELLO);
    await edge.post({ ...HELLO, senderId: "alice" });
    expect(backend.calls.map(({ message }) => message.senderId)).toEqual(["alice", "alice"]);
  });

  it("is not somebody else", async () => {
    const answer = await edge.post({ ...HELLO, senderId: "bob" });
    expect(answer.status).toBe(403);
    const { error } = (await answer.json()) as ErrorAnswer;
    expect(error).toMatchObject({ code: "permission_denied" });
    expect(error.message).toContain("messages:send-as");
    expect(backend.calls).toHaveLength(0);
  });

  it("may be somebody else for a caller with messages:send-as", async () => {
    const key = await edge.directory.addKey({ scopes: ["messages:send", "messages:send-as"] });
    const headers = { authorization: `Bearer ${key}` };
    expect((await edge.post({ ...HELLO, sender_id: "bob" }, { headers })).status).toBe(200);
    expect((await edge.post(HELLO, { headers })).status).toBe(200);
    expect(backend.calls.map(({ message }) => message.senderId)).toEqual(["bob", "alice"]);
  });
});

describe("the look-ups of a message", () => {
  it("are one, its key, where the key is met for the first time, and none after that", async () => {
    edge = await createEdgeHarness({ BACKEND_URLS: backend.url }, { cached: true });
    await edge.post(HELLO);
    expect(edge.directory.lookups).toHaveLength(2);
    const key = await edge.directory.addKey();
    edge.directory.lookups.length = 0;
    const headers = { authorization: `Bearer ${key}` };
    for (let message = 0; message < 3; message++) {
      expect((await edge.post(HELLO, { headers })).status).toBe(200);
    }
    expect(edge.directory.lookups).toEqual([expect.stringMatching(/^key /)]);
  });
});
