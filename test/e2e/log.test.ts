/** What the durable log has of turns that went through the whole product, and what readers of it are told. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { searchMessages } from "../../core/log/message-search.ts";
import { readUsage } from "../../core/log/usage.ts";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { type OpenaiDouble, startOpenaiDouble } from "../support/openai-double.ts";
import { ask } from "./ask.ts";

const LIMIT_MS = 60_000;
const HOUR_MS = 3_600_000;
const LAST_MESSAGES = 50;

describe("the durable log", () => {
  let provider: OpenaiDouble;
  let gateway: Gateway;
  const environment = () => ({ OPENAI_BASE_URL: provider.baseUrl, OPENAI_MODEL: "healthy" });
  beforeAll(async () => {
    provider = await startOpenaiDouble();
    gateway = await startGateway({ environment: environment() });
    const models = ["unavailable", "healthy"].map((model) => ({
      provider: "openai",
      model,
      limits: { attemptsMax: 1 },
    }));
    await gateway.database.query(
      `INSERT INTO agents (tenant_id, id, name, version, config) VALUES ('default', 'chained', 'Chained', 3, $1::jsonb)`,
      [JSON.stringify({ kind: "model", models })],
    );
  }, LIMIT_MS);
  afterAll(async () => {
    await gateway.stop();
    gateway.remove();
    await provider.close();
  }, LIMIT_MS);

  it("has a reply's every attempt, the caller's key and the agent's version, and tells them", {
    timeout: LIMIT_MS,
  }, async () => {
    const { body } = await ask(gateway, { receiverId: "chained", text: "Who answers?" });
    const keyId = gateway.key.split("_")[1];
    const { messages } = await searchMessages(gateway.database, {
      tenantId: "default",
      contextId: body.contextId,
      order: "oldest-first",
    });
    const shared = { taskId: body.taskId, keyId, agentVersion: 3 };
    expect(messages).toMatchObject([
      { ...shared, role: "user", model: null },
      { ...shared, role: "agent", model: "openai/healthy", messageId: body.messageId },
    ]);
    const attempts = await gateway.database.query(
      `SELECT attempt, agent_id, model, outcome, key_id, first_token_ms IS NOT NULL AS began
         FROM model_attempts WHERE task_id = $1 ORDER BY attempt`,
      [body.taskId],
    );
    expect(attempts).toMatchObject([
      { attempt: 1, agent_id: "chained", model: "openai/unavailable", key_id: keyId, began: false },
      { attempt: 2, model: "openai/healthy", outcome: "answered", key_id: keyId, began: true },
    ]);
    const time = { fromMs: Date.now() - HOUR_MS, toMs: Date.now() + HOUR_MS };
    const usage = await readUsage(gateway.database, { tenantId: "default", ...time, groupBy: ["agent"] });
    expect(usage).toMatchObject([{ agentId: "chained", messages: 1, replies: 1, failedAttempts: 1 }]);
  });

  it("has, on the embedded database, every row of what was sent up to a SIGTERM", {
    timeout: LIMIT_MS,
  }, async () => {
    const asked = Array.from({ length: LAST_MESSAGES }, () =>
      ask(gateway, { receiverId: "echo", text: "Last words." }),
    );
    const settled = Promise.allSettled(asked);
    await Promise.race(asked);
    gateway.process.kill("SIGTERM");
    const taskIds = (await settled).flatMap((one) =>
      one.status === "fulfilled" && one.value.status === 200 ? [one.value.body.taskId as string] : [],
    );
    await gateway.stop();
    gateway = await startGateway({ environment: environment(), dataDirectory: gateway.dataDirectory });
    const rows = await gateway.database.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM messages WHERE task_id = ANY ($1) GROUP BY task_id`,
      [taskIds],
    );
    console.log(`SIGTERM: ${taskIds.length} of ${LAST_MESSAGES} answered, tasks with rows: ${rows.length}`);
    expect(taskIds.length).toBeGreaterThan(0);
    expect(rows).toEqual(taskIds.map(() => ({ count: 2 })));
  });
});
