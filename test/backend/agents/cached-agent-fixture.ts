/** A cached agent whose model, embeddings, clock and documents a test decides on. */
import { create } from "@bufbuild/protobuf";
import type { AgentEvent, AgentRunner, AgentTurn } from "../../../backend/agents/agent-runner.ts";
import { createCachedAgent } from "../../../backend/agents/cached-agent.ts";
import { SimilarAnswers } from "../../../backend/agents/similar-answers.ts";
import { MemoryAnswerCache } from "../../../backend/stores/memory-answer-cache.ts";
import { MemoryQuestionIndex } from "../../../backend/stores/memory-question-index.ts";
import { type Agent, agentConfigSchema, type ModelAgentConfig } from "../../../core/directory/agent.ts";
import { textContent } from "../../../core/messages/envelope.ts";
import { Deadline } from "../../../core/resilience/deadline.ts";
import { type Part, PartSchema } from "../../../proto/gen/lf/a2a/v1/a2a_pb.js";

/** A configuration with these fields. */
export const configOf = (fields: object = { cache: { exact: { ttlSeconds: 60 } } }) =>
  agentConfigSchema.parse({
    kind: "model",
    models: [{ provider: "openai", model: "m" }],
    ...fields,
  }) as ModelAgentConfig;
const config = configOf();

/** A part of text. */
export const textPart = (text: string): Part =>
  create(PartSchema, { content: { case: "text", value: text } });

/** A whole answer. */
export type Finish = Extract<AgentEvent, { type: "finish" }>;
/** The answer with this text. */
export const answers = (text: string, more: object = {}, record: object = {}): Finish => ({
  type: "finish",
  parts: [textPart(text)],
  metadata: { model: "openai/m", finishReason: "stop", usage: { inputTokens: 5, outputTokens: 7 }, ...more },
  record: { model: "openai/m", inputTokens: 5, outputTokens: 7, ...record },
});

/** The question's embedding; an error stands for a server that does not answer. */
export type Embeddings = Record<string, number[] | Error>;

/** An agent whose n-th answer is the n-th given; the last one comes again. Waits for `gate` before each. */
export function setUp(...given: (Finish | Error)[]) {
  return setUpWith({ given });
}

/** The same with another configuration, and with embeddings. */
export function setUpWith({
  given,
  config: own = config,
  embeddings = {},
}: {
  given: (Finish | Error)[];
  config?: ModelAgentConfig;
  embeddings?: Embeddings;
}) {
  let nowMs = 0;
  const world = { modelId: "openai/embed", revision: "1" as string | Error | undefined };
  const cache = new MemoryAnswerCache(() => nowMs);
  const flights = new Map();
  const models = ["openai/m"];
  const gates: PromiseWithResolvers<void>[] = [];
  let isGated = false;
  let calls = 0;
  const runner: AgentRunner = {
    async *answer(_turn, signal) {
      const next = given[Math.min(calls, given.length - 1)] as Finish | Error;
      calls += 1;
      if (isGated) {
        const gate = Promise.withResolvers<void>();
        gates.push(gate);
        signal.addEventListener("abort", () => gate.reject(signal.reason), { once: true });
        await gate.promise;
      }
      if (next instanceof Error) throw next;
      yield { type: "text-delta", text: "live " };
      yield next;
    },
  };
  const similar = new SimilarAnswers({
    ...{ cache, index: new MemoryQuestionIndex() },
    embed: async (text) => {
      const vector = embeddings[text];
      if (!vector || vector instanceof Error) return undefined;
      return { modelId: world.modelId, vector: Float32Array.from(vector) };
    },
  });
  const agent = createCachedAgent(runner, own, {
    ...{ cache, flights, similar },
    revisions: {
      current: async () => {
        if (world.revision instanceof Error) throw world.revision;
        return world.revision;
      },
    },
    registry: { resolveChain: async () => models.map((id) => ({ model: { id } })) as never },
  });
  const ask = async (turn: Partial<AgentTurn> = {}, signal = new AbortController().signal) => {
    const events: AgentEvent[] = [];
    for await (const event of agent.answer(turnOf(turn), signal)) events.push(event);
    const finish = events.at(-1) as Finish;
    const deltas = events.flatMap((event) => (event.type === "text-delta" ? [event.text] : []));
    const cached = finish.metadata["cached"];
    return { finish, deltas, cached, isCached: cached !== undefined };
  };
  return {
    ask,
    world,
    flights,
    models,
    gates,
    calls: () => calls,
    gateAll: () => {
      isGated = true;
    },
    pass: (ms: number) => {
      nowMs += ms;
    },
  };
}

/** The agent `a` of `acme`, but for these fields. */
export const agentOf = (more: Partial<Agent> = {}) =>
  ({ tenantId: "acme", id: "a", version: 1, config, ...more }) as Agent;

function turnOf(turn: Partial<AgentTurn>): AgentTurn {
  return {
    agent: agentOf(),
    content: textContent("What is a gateway?"),
    ...{ history: [], instructions: "", parameters: {}, requestId: "r", onAttempt: () => {} },
    deadline: Deadline.after(10_000, () => performance.now()),
    ...turn,
  };
}
