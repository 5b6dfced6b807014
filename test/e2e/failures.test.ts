/** What callers see while a part is gone, and that it is over when the part is back. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CANONICAL_TOKENS } from "../support/double-answer.ts";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { type OpenaiDouble, startOpenaiDouble } from "../support/openai-double.ts";
import { startPostgres } from "../support/postgres.ts";
import { requirement } from "../support/requirements.ts";
import { ask } from "./ask.ts";

const LIMIT_MS = 60_000;
const question = { receiverId: "assistant", text: "Are you there?" };

/** Points the assistant at a chain of the double's models. */
async function setChain(gateway: Gateway, models: string[], limits = {}) {
  const config = {
    kind: "model",
    models: models.map((model) => ({ provider: "openai", model, limits: { attemptsMax: 1, ...limits } })),
    presetReply: "Please come back later.",
  };
  await gateway.database.query(
    `insert into agents (tenant_id, id, name, description, version, config)
     values ('default', $1, $1, '', 1, $2::jsonb) on conflict (tenant_id, id) do nothing`,
    [models.join("-then-"), JSON.stringify(config)],
  );
  return models.join("-then-");
}

describe("a model that fails", () => {
  let provider: OpenaiDouble;
  let gateway: Gateway;
  beforeAll(async () => {
    provider = await startOpenaiDouble();
    gateway = await startGateway({
      environment: { OPENAI_BASE_URL: provider.baseUrl, OPENAI_MODEL: "healthy" },
    });
  }, LIMIT_MS);
  afterAll(async () => {
    await gateway.stop();
    gateway.remove();
    await provider.close();
  }, LIMIT_MS);

  it.each([
    ["unavailable"],
    ["cut-20"],
    ["end-20"],
    ["end-done-20"],
    ["lost-20"],
    ["status-401"],
    ["quota"],
    ["empty"],
  ])("(%s) is replaced by the next of the chain, with the whole answer", async (fault) => {
    const receiverId = await setChain(gateway, [fault, "healthy"]);
    const { status, body } = await ask(gateway, { ...question, receiverId });
    expect(status).toBe(200);
    expect(body.metadata.model).toBe("openai/healthy");
    expect(body.text).toContain(CANONICAL_TOKENS.join(""));
  });

  it.each([["unavailable"], ["cut-20"], ["end-20"], ["lost-20"]])(
    "(%s) and is the only one gives way to the preset reply, marked as such, never a part of an answer",
    async (fault) => {
      const receiverId = await setChain(gateway, [fault]);
      const { status, headers, body } = await ask(gateway, { ...question, receiverId });
      expect(status).toBe(200);
      expect(body.text).toBe("Please come back later.");
      expect(body.metadata.degraded).toBe("preset-reply");
      expect(headers.get("parley-degraded")).toBe("preset-reply");
    },
  );

  it("by refusing the content is told to the caller as an error, with the provider's code", async () => {
    const receiverId = await setChain(gateway, ["content-policy", "healthy"]);
    const { status, body } = await ask(gateway, { ...question, receiverId });
    expect(status).toBe(400);
    expect(body.error).toMatchObject({
      code: "failed_precondition",
      reason: "content-policy",
      details: { providerCode: "content_policy_violation" },
    });
    expect(provider.requestsFor("content-policy")).toHaveLength(1);
  });

  it("by taking less text is told to the caller as its own mistake when no model takes more", async () => {
    const receiverId = await setChain(gateway, ["context-length", "healthy"]);
    const { status, body } = await ask(gateway, { ...question, receiverId });
    expect([status, body.error.code, body.error.reason]).toEqual([400, "invalid_argument", "context-window"]);
  });

  it("is named, with those that were asked after it, to a caller with the scope for it", async () => {
    const receiverId = await setChain(gateway, ["status-404", "healthy"]);
    const { body } = await ask(gateway, { ...question, receiverId });
    expect(body.metadata.attempts).toMatchObject([
      { model: "openai/status-404", outcome: "model-not-found" },
      { model: "openai/healthy", outcome: "answered", usage: body.metadata.usage },
    ]);
  });

  it("by silence is left after its first-token limit", async () => {
    const receiverId = await setChain(gateway, ["silent", "healthy"], { firstTokenTimeoutMs: 300 });
    const { body } = await ask(gateway, { ...question, receiverId });
    expect(body.metadata.model).toBe("openai/healthy");
    expect(provider.requestsFor("silent")).toHaveLength(1);
  });
});

describe("a backend that is killed", () => {
  it("is a 503 with a time to come back and the preset reply, and runs again soon", {
    timeout: LIMIT_MS,
  }, async () => {
    const gateway = await startGateway();
    expect((await ask(gateway, question)).status).toBe(200);
    const pid = gateway.record.children.find(({ name }) => name === "backend")?.pid ?? 0;
    process.kill(pid, "SIGKILL");
    const down = await ask(gateway, question);
    // It may be there again before the edge has given up.
    if (down.status !== 200) {
      expect(down.status).toBe(503);
      expect(down.body.error).toMatchObject({ code: "unavailable", requestId: expect.any(String) });
      expect(Number(down.headers.get("retry-after"))).toBeGreaterThan(0);
      expect(down.body.error.details.presetReply).toContain("guide");
    }
    await expect
      .poll(async () => (await ask(gateway, question)).status, { timeout: 30_000, interval: 250 })
      .toBe(200);
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
    await gateway.stop();
    gateway.remove();
  });
});

const postgres = requirement("postgres");
describe.skipIf(!postgres.available)("on plain PostgreSQL", () => {
  it("answers, records, and the edge reads it through the local endpoint", {
    timeout: LIMIT_MS,
  }, async () => {
    const server = await startPostgres();
    const gateway = await startGateway({ environment: { DATABASE_URL: await server.createDatabase() } });
    const { status, body } = await ask(gateway, { receiverId: "echo", text: "on real PostgreSQL" });
    expect([status, body.text]).toEqual([200, "on real PostgreSQL"]);
    const rows = await gateway.database.query<{ count: number }>(
      "select count(*)::int as count from messages where task_id = $1",
      [body.taskId],
    );
    expect(rows[0]?.count).toBe(2);
    await gateway.stop();
    gateway.remove();
    await server.stop();
  });
});
