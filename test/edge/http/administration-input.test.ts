import { beforeEach, describe, expect, it } from "vitest";
import { SCOPES } from "../../../core/auth/principal.ts";
import { createEdgeHarness, type EdgeHarness, type ErrorAnswer } from "../support/edge-harness.ts";

let edge: EdgeHarness;
let key: string;

beforeEach(async () => {
  edge = await createEdgeHarness();
  key = await edge.directory.addKey({ scopes: SCOPES });
});

const send = (method: string, path: string, body: string, headers: Record<string, string> = {}) =>
  edge.request(path, {
    method,
    body,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
  });

describe("input of administrators", () => {
  it("of 10 MB, a prompt for instance, is refused by its size", async () => {
    const config = { kind: "model", models: [{ provider: "builtin" }], systemPrompt: "x".repeat(10_000_000) };
    const answer = await send("POST", "/api/v1/agents", JSON.stringify({ id: "big", name: "Big", config }));
    const { error } = (await answer.json()) as ErrorAnswer;
    expect([answer.status, error.reason]).toEqual([413, "body-too-large"]);
  });

  it("that is no JSON, or of another media type, is refused", async () => {
    expect((await send("POST", "/api/v1/keys", "{")).status).toBe(400);
    expect((await send("POST", "/api/v1/keys", "{}", { "content-type": "text/plain" })).status).toBe(415);
  });

  it("nested deeper than anything honest is refused, not walked", async () => {
    const deep = `{"a":${"[".repeat(150_000)}${"]".repeat(150_000)}}`;
    for (const [method, path] of [
      ["POST", "/api/v1/agents"],
      ["PATCH", "/api/v1/agents/echo"],
      ["POST", "/api/v1/keys"],
    ] as const) {
      const answer = await send(method, path, deep);
      const { error } = (await answer.json()) as ErrorAnswer;
      expect([answer.status, error.code]).toEqual([400, "invalid_argument"]);
      expect(error.message).toContain("nested deeper");
    }
  });

  it.each(['W/"1"', "1", '"0"', '"1", "2"', '"abc"'])("with If-Match %s is refused", async (tag) => {
    const body = JSON.stringify({ name: "N", config: { kind: "echo" } });
    const answer = await send("PUT", "/api/v1/agents/echo", body, { "if-match": tag });
    const { error } = (await answer.json()) as ErrorAnswer;
    expect([answer.status, error.code]).toEqual([400, "invalid_argument"]);
    expect(error.message).toContain("If-Match");
  });
});

describe("a caller without the scope", () => {
  it.each([
    ["POST", "/api/v1/agents", "agents:write"],
    ["PUT", "/api/v1/agents/echo", "agents:write"],
    ["DELETE", "/api/v1/agents/echo", "agents:write"],
    ["GET", "/api/v1/agents/echo/versions", "agents:write"],
    ["POST", "/api/v1/keys", "keys:manage"],
    ["DELETE", "/api/v1/keys/000000000000", "keys:manage"],
    ["GET", "/api/v1/tenants", "operator"],
    ["PATCH", "/api/v1/tenants/default", "operator"],
    ["GET", "/api/v1/usage", "usage:read"],
    ["GET", "/api/v1/messages", "messages:read"],
    ["GET", "/api/v1/audit", "keys:manage"],
  ])("is refused on %s %s and told %s", async (method, path, scope) => {
    key = await edge.directory.addKey({ scopes: ["messages:send"] });
    const answer = await edge.request(path, { method, headers: { authorization: `Bearer ${key}` } });
    const { error } = (await answer.json()) as ErrorAnswer;
    expect([answer.status, error.code]).toEqual([403, "permission_denied"]);
    expect(error.message).toContain(scope);
  });

  it("but with another one that opens the route is let in", async () => {
    key = await edge.directory.addKey({ scopes: ["operator"] });
    const answer = await edge.request("/api/v1/audit", { headers: { authorization: `Bearer ${key}` } });
    expect(await answer.json()).toEqual({ entries: [] });
  });
});
