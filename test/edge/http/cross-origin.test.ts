import { beforeAll, describe, expect, it } from "vitest";
import { createEdgeHarness, type EdgeHarness } from "../support/edge-harness.ts";

const PAGE = "https://chat.example.com";

let edge: EdgeHarness;

beforeAll(async () => {
  edge = await createEdgeHarness({ ALLOWED_ORIGINS: PAGE });
});

function preflight(origin: string): Promise<Response> {
  return edge.request("/api/v1/a2a/message", {
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,content-type",
    },
  });
}

describe("a page of another origin", () => {
  it("may call when its origin is on the list", async () => {
    const answer = await preflight(PAGE);
    expect(answer.status).toBe(204);
    expect(answer.headers.get("access-control-allow-origin")).toBe(PAGE);
    expect(answer.headers.get("access-control-allow-headers")).toBe("authorization,content-type");
    expect(answer.headers.get("access-control-allow-methods")).toContain("POST");
    expect(answer.headers.get("access-control-allow-credentials")).toBeNull();
    expect(answer.headers.get("vary")).toMatch(/origin/i);
  });

  it("can read an error, its request id and when to come back", async () => {
    const answer = await edge.request("/api/v1/agents", { headers: { origin: PAGE } });
    expect(answer.status).toBe(401);
    expect(answer.headers.get("access-control-allow-origin")).toBe(PAGE);
    expect(answer.headers.get("access-control-expose-headers")).toMatch(/Retry-After.*X-Request-Id/);
  });

  it.each(["https://evil.example.com", `${PAGE}.evil.example`, "https://chat.example.com:444", "null"])(
    "is told nothing when it is not: %s",
    async (origin) => {
      expect((await preflight(origin)).headers.get("access-control-allow-origin")).toBeNull();
      const answer = await edge.request("/api/v1/agents", { headers: { origin } });
      expect(answer.headers.get("access-control-allow-origin")).toBeNull();
    },
  );
});

describe("a caller that is no page", () => {
  it("gets no such header, and OPTIONS stays a method that is not offered", async () => {
    const answer = await edge.request("/api/v1/agents");
    expect(answer.headers.get("access-control-allow-origin")).toBeNull();
    expect((await edge.request("/api/v1/agents", { method: "OPTIONS" })).status).toBe(405);
  });
});
