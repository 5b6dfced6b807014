import { beforeEach, describe, expect, it } from "vitest";
import { createEdgeHarness, type EdgeHarness, type ErrorAnswer } from "../support/edge-harness.ts";

let edge: EdgeHarness;

beforeEach(async () => {
  edge = await createEdgeHarness();
});

const get = (path: string) => edge.request(path, { headers: { authorization: `Bearer ${edge.apiKey}` } });

describe("agents", () => {
  it("are listed as far as the caller's tenant has them, without their prompts", async () => {
    const answer = await get("/api/v1/agents");
    expect(answer.status).toBe(200);
    expect(await answer.json()).toEqual({
      agents: [
        {
          id: "assistant",
          name: "assistant",
          description: "the agent assistant",
          kind: "model",
          version: 1,
          models: ["openai/small", "builtin/default"],
        },
        { id: "echo", name: "echo", description: "the agent echo", kind: "echo", version: 1 },
      ],
    });
  });

  it("are found by id", async () => {
    const answer = await get("/api/v1/agents/echo");
    expect(await answer.json()).toMatchObject({ id: "echo", kind: "echo" });
    expect(edge.lines.at(-1)).toMatchObject({ route: "/api/v1/agents/:id", agentId: "echo" });
  });

  it.each(["nobody", "secret", "%00", "%E0%A4%A", "..%2f..", "A B"])(
    "that are not the caller's, such as %s, are not found",
    async (id) => {
      const answer = await get(`/api/v1/agents/${id}`);
      expect(answer.status).toBe(404);
      const { error } = (await answer.json()) as ErrorAnswer;
      expect(error).toMatchObject({ code: "not_found", requestId: answer.headers.get("x-request-id") });
      expect(error.message).toMatch(/^no agent ".*"; GET \/api\/v1\/agents lists those you can reach$/s);
    },
  );

  it("can be asked for by HEAD", async () => {
    const answer = await edge.request("/api/v1/agents", {
      method: "HEAD",
      headers: { authorization: `Bearer ${edge.apiKey}` },
    });
    expect(answer.status).toBe(200);
    expect(await answer.text()).toBe("");
  });
});
