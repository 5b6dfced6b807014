/** What a message may bring for its own turn: history, instructions, parameters. */
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import type { AgentRunner, AgentTurn } from "../../../backend/agents/agent-runner.ts";
import { createEchoAgent } from "../../../backend/agents/echo-agent.ts";
import { createModelAgent } from "../../../backend/agents/model-agent.ts";
import { withGivenParameters } from "../../../backend/agents/sender-context.ts";
import type { ModelParameters } from "../../../backend/llm/language-model.ts";
import type { ModelRegistry } from "../../../backend/llm/model-registry.ts";
import { agentConfigSchema, type ModelAgentConfig } from "../../../core/directory/agent.ts";
import { Role } from "../../../proto/gen/lf/a2a/v1/a2a_pb.js";
import {
  type A2AMessage,
  HistorySchema,
  ParametersSchema,
} from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { wordCounter } from "../../support/conversation-memory.ts";
import { ScriptedModel, says } from "../../support/scripted-model.ts";
import { createTestManager } from "../../support/test-manager.ts";
import { createEngine, eventsOf, request } from "../tasks/engine-fixture.ts";

const TOLD = create(HistorySchema, {
  turns: [
    { role: Role.USER, text: "my name is Ann" },
    { role: Role.AGENT, text: "hello Ann" },
  ],
  instructions: "Be brief.",
});

/** Echoes, and keeps the turns that it was given. */
function createListeningAgent() {
  const turns: AgentTurn[] = [];
  const echo = createEchoAgent();
  const runner: AgentRunner = {
    answer(turn, signal) {
      turns.push(turn);
      return echo.answer(turn, signal);
    },
  };
  return { runner, turns };
}

describe("a message with a history of its own", () => {
  it("is answered with that one, and leaves nothing behind for later turns of any context", async () => {
    const { runner, turns } = createListeningAgent();
    const engine = createEngine(runner);
    const told = await engine.accept({ ...request("who am I?", { history: TOLD }), defaultContextId: "c1" });
    await eventsOf(told);
    expect(turns[0]).toMatchObject({
      history: [
        { role: "user", text: "my name is Ann" },
        { role: "assistant", text: "hello Ann" },
      ],
      instructions: "Be brief.",
    });
    expect(told.message.contextId).not.toBe("c1");
    for (const contextId of [told.message.contextId, "c1"]) {
      await eventsOf(await engine.accept(request("and now?", { contextId })));
      expect(turns.at(-1)?.history).toEqual([]);
    }
  });

  it("has no part in what is remembered, also when the history is empty", async () => {
    const { runner, turns } = createListeningAgent();
    const engine = createEngine(runner);
    await eventsOf(await engine.accept(request("remember me", { contextId: "c1" })));
    await eventsOf(await engine.accept(request("do you?", { history: create(HistorySchema) })));
    expect(turns[1]).toMatchObject({ history: [], instructions: "" });
    await eventsOf(await engine.accept(request("and you?", { contextId: "c1" })));
    expect(turns[2]?.history.map(({ text }) => text)).toEqual(["remember me", "remember me"]);
  });
});

describe("a model agent", () => {
  async function requestOf(config: Partial<ModelAgentConfig>, fields: Partial<A2AMessage>) {
    const model = new ScriptedModel("m", says("yes"));
    const parsed = agentConfigSchema.parse({ kind: "model", models: [{ provider: "builtin" }], ...config });
    const link = { firstTokenTimeoutMs: 1_000, idleTimeoutMs: 1_000, totalTimeoutMs: 1_000 };
    const own = { temperature: 0.2, outputTokensMax: 50 };
    const resolveAgent: ModelRegistry["resolveAgent"] = async (
      _config,
      _signal,
      parametersFor = (same) => same,
    ) => ({
      chain: [{ model, attemptsMax: 1, ...link, parameters: parametersFor(own) }],
      contextWindowFallbacks: [],
      contentPolicyFallbacks: [],
      hedge: undefined,
    });
    const runner = createModelAgent(parsed as ModelAgentConfig, {
      registry: { resolveAgent } as never,
      managerFor: () => createTestManager(),
      retriever: { retrieve: async () => ({ passages: [], state: "complete" as const }) },
      counter: wordCounter,
    });
    await eventsOf(await createEngine(runner).accept(request("the question", fields)));
    return model.requests[0];
  }

  it("puts the sender's instructions below its own prompt, in one system message", async () => {
    const asked = await requestOf({ systemPrompt: "You are discreet." }, { history: TOLD });
    expect(asked?.messages.map(({ role }) => role)).toEqual(["system", "user", "assistant", "user"]);
    expect(asked?.messages[0]?.text).toMatch(/^You are discreet\.\n\n.*that holds:\nBe brief\.$/s);
    expect(asked?.messages.at(-1)?.text).toBe("the question");
  });

  it("has the sender's instructions alone when it has no prompt", async () => {
    const asked = await requestOf({}, { history: TOLD });
    expect(asked?.messages[0]).toEqual({ role: "system", text: "Be brief." });
  });

  it("samples as the sender asks, within its own limit of length", async () => {
    const parameters = create(ParametersSchema, {
      temperature: 0,
      topP: 0.5,
      seed: 7n,
      outputTokensMax: 500,
      stop: ["END"],
    });
    const asked = await requestOf({}, { parameters });
    expect(asked?.parameters).toEqual({
      ...{ temperature: 0, topP: 0.5, seed: 7, outputTokensMax: 50 },
      stop: ["END"],
    });
    expect((await requestOf({}, {}))?.parameters).toMatchObject({ temperature: 0.2, outputTokensMax: 50 });
  });
});

describe("given parameters", () => {
  it.each<[ModelParameters, ModelParameters, number | undefined]>([
    [{}, {}, undefined],
    [{ outputTokensMax: 10 }, {}, 10],
    [{}, { outputTokensMax: 20 }, 20],
    [{ outputTokensMax: 10 }, { outputTokensMax: 20 }, 10],
    [{ outputTokensMax: 20 }, { outputTokensMax: 10 }, 10],
  ])("of %o and %o the smaller limit of length holds", (agent, given, expected) => {
    expect(withGivenParameters(agent, given).outputTokensMax).toBe(expected);
  });
});
