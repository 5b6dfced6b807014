/** A fresh gateway explains itself: the agent `guide`, without any model, over HTTP and gRPC. */
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { AgentService } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { ask } from "./ask.ts";

const LIMIT_MS = 120_000;
const question = { receiverId: "guide", text: "How do I configure Ollama?" };

describe("the agent guide on a fresh machine", () => {
  let gateway: Gateway;

  beforeAll(async () => {
    gateway = await startGateway();
    // The documents are taken in once the gateway is up, in the background.
    const isTold = async () => {
      const { body } = await ask(gateway, question);
      if (!body?.text?.includes("OLLAMA_HOST")) throw new Error(`not yet: ${JSON.stringify(body)}`);
    };
    await vi.waitFor(isTold, { timeout: 60_000, interval: 500 });
  }, LIMIT_MS);

  afterAll(async () => {
    await gateway?.stop();
    gateway?.remove();
  }, LIMIT_MS);

  it("answers over HTTP from the project's documents, quoted, with citations", async () => {
    const { status, body } = await ask(gateway, question);
    expect(status).toBe(200);
    expect(body.text).toContain("OLLAMA_HOST");
    expect(body.metadata.model).toBe("builtin/extractive");
    const [citation] = body.metadata.citations;
    expect(citation).toMatchObject({ number: 1, documentId: expect.stringMatching(/\.md$/) });
    expect(citation.end).toBeGreaterThan(citation.start);
    const data = body.content.parts.find((part: object) => "data" in part);
    expect(data.data.citations).toEqual(body.metadata.citations);
  });

  it("answers the same over gRPC", async () => {
    const client = createClient(AgentService, createGrpcTransport({ baseUrl: gateway.backendUrl }));
    const headers = { authorization: `Bearer ${gateway.key}` };
    const reply = await client.processMessage(question, { headers });
    expect(reply.text).toContain("[1] ");
    expect(reply.metadata?.["knowledge"]).toBe("complete");
    expect(reply.metadata?.["citations"]).not.toEqual([]);
  });

  it("says that its documents do not tell when they do not", async () => {
    const { body } = await ask(gateway, { receiverId: "guide", text: "What is the capital of France?" });
    expect(body.text).toMatch(/^The documents that I answer from do not tell\. /);
    expect(body.metadata).toMatchObject({ knowledge: "nothing-relevant", citations: [] });
  });
});
