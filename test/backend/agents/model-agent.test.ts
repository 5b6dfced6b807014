/** What the models of an agent are asked: of one conversation, what fits the window of each. */
import { describe, expect, it } from "vitest";
import type { AgentTurn, EarlierTurn } from "../../../backend/agents/agent-runner.ts";
import { createModelAgent } from "../../../backend/agents/model-agent.ts";
import type { ModelLink } from "../../../backend/llm/answer-event.ts";
import { BuiltinLanguageModel } from "../../../backend/llm/builtin-language-model.ts";
import type { LanguageModel } from "../../../backend/llm/language-model.ts";
import type { AgentModels } from "../../../backend/llm/model-registry.ts";
import { createTokenCounter } from "../../../backend/llm/token-counter.ts";
import { type Agent, agentConfigSchema, type ModelAgentConfig } from "../../../core/directory/agent.ts";
import { textContent } from "../../../core/messages/envelope.ts";
import { Deadline } from "../../../core/resilience/deadline.ts";
import { ScriptedModel, says } from "../../support/scripted-model.ts";
import { createTestManager } from "../../support/test-manager.ts";

const limits = { attemptsMax: 1, firstTokenTimeoutMs: 1_000, idleTimeoutMs: 1_000, totalTimeoutMs: 1_000 };
const linkTo = (model: LanguageModel, contextTokens?: number): ModelLink => ({
  ...{ model, ...limits, contextTokens },
  parameters: { outputTokensMax: 100 },
});

/** Twenty exchanges of about sixty tokens. */
const history: EarlierTurn[] = Array.from({ length: 20 }, (_, index) => [
  { role: "user" as const, text: `Question ${index} ${"word ".repeat(25)}` },
  { role: "assistant" as const, text: `Answer ${index} ${"word ".repeat(25)}`, tokens: 30 },
]).flat();

async function ask(models: ModelLink[] | AgentModels, config: object = {}, turn: Partial<AgentTurn> = {}) {
  const parsed = agentConfigSchema.parse({ kind: "model", models: [{ provider: "builtin" }], ...config });
  const runner = createModelAgent(parsed as ModelAgentConfig, {
    registry: { resolveAgent: async () => (Array.isArray(models) ? { chain: models } : models) } as never,
    managerFor: () => createTestManager(),
    retriever: { retrieve: async () => ({ passages: [], state: "complete" as const }) },
    counter: createTokenCounter(),
  });
  const events = [];
  const asked: AgentTurn = {
    agent: { tenantId: "acme", id: "a", config: parsed } as Agent,
    content: textContent("And now?"),
    history,
    ...{ instructions: "", parameters: {}, requestId: "r", onAttempt: () => {} },
    deadline: Deadline.after(10_000, () => performance.now()),
    ...turn,
  };
  for await (const event of runner.answer(asked, new AbortController().signal)) events.push(event);
  return events.at(-1);
}

const askedOf = (model: ScriptedModel) => model.requests[0]?.messages ?? [];

describe("a model agent", () => {
  it("shows each model of its chain as much of the conversation as that model takes", async () => {
    const small = new ScriptedModel("openai/small", [{ fail: "provider-unavailable" }]);
    const large = new ScriptedModel("openai/large", says("Fine."));
    const summary = { text: "They spoke of nothing.", tokens: 5 };
    await ask([linkTo(small, 600), linkTo(large, 100_000)], { systemPrompt: "Be brief." }, { summary });
    expect(askedOf(large)).toHaveLength(42);
    expect(askedOf(small).length).toBeGreaterThan(6);
    expect(askedOf(small).length).toBeLessThan(20);
    for (const messages of [askedOf(small), askedOf(large)]) {
      expect(messages[0]?.text).toMatch(/^Be brief\..*They spoke of nothing\.$/s);
      expect(messages[1]?.role).toBe("user");
      expect(messages.at(-2)?.text).toMatch(/^Answer 19/);
      expect(messages.at(-1)).toEqual({ role: "user", text: "And now?" });
    }
  });

  it("asks only the models that can take the question, and refuses one that none can take", async () => {
    const small = new ScriptedModel("openai/small", says("Small."));
    const large = new ScriptedModel("openai/large", says("Large."));
    const content = textContent("word ".repeat(1_000));
    const chain = [linkTo(small, 600), linkTo(large, 2_000)];
    await expect(ask(chain, {}, { content })).resolves.toMatchObject({ metadata: { model: "openai/large" } });
    expect(small.requests).toHaveLength(0);
    await expect(ask([linkTo(small, 600)], {}, { content })).rejects.toMatchObject({
      code: "invalid_argument",
      reason: "message-too-long",
      message: expect.stringMatching(/about 1\d\d\d tokens.*take 500/),
    });
  });

  it("asks its models for long texts when only they can take the question, each with what fits it", async () => {
    const small = new ScriptedModel("openai/small", says("Small."));
    const large = new ScriptedModel("openai/large", says("Large."));
    const models = { chain: [linkTo(small, 600)], contextWindowFallbacks: [linkTo(large, 2_000)] };
    const content = textContent("word ".repeat(1_000));
    await expect(ask(models, {}, { content })).resolves.toMatchObject({
      metadata: { model: "openai/large" },
    });
    expect(askedOf(large).at(-1)?.text).toContain("word word");
    expect(small.requests).toHaveLength(0);
  });

  it("takes a question of any length when there is a model that reads no prompt", async () => {
    const content = textContent("word ".repeat(100_000));
    const last = await ask([linkTo(new BuiltinLanguageModel())], {}, { content });
    expect(last).toMatchObject({ metadata: { model: "builtin/extractive" } });
  });

  it("shows no more earlier turns than its configuration says", async () => {
    for (const [turnsMax, messages] of [
      [0, 1],
      [1, 3],
      [3, 7],
    ]) {
      const model = new ScriptedModel("openai/m", says("Fine."));
      await ask([linkTo(model, 100_000)], { context: { turnsMax } });
      expect(askedOf(model)).toHaveLength(messages ?? 0);
    }
  });
});
