/**
 * Gives an agent's answer again to the same question, for agents that want that. Only questions that stand alone are
 * looked up and kept: an answer in a conversation belongs to that conversation. Equal questions at the same time are
 * one question: who asks first is answered as ever, the others get that answer when it is whole, and ask themselves
 * when there is none, for whatever reason.
 */
import { createHash } from "node:crypto";
import { fromJson, type JsonObject, toJson } from "@bufbuild/protobuf";
import { abortable } from "../../core/directory/abortable.ts";
import type { ModelAgentConfig } from "../../core/directory/agent.ts";
import { PartSchema } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import { BUILTIN_MODEL_ID } from "../llm/builtin-language-model.ts";
import type { ModelRegistry } from "../llm/model-registry.ts";
import type { AgentEvent, AgentRunner, AgentTurn } from "./agent-runner.ts";
import type { AnswerCache, AnswerKey, CachedAnswer } from "./answer-cache.ts";
import { questionText } from "./question-text.ts";

/** Characters of one piece of a cached answer: an event each. */
const PIECE_PATTERN = /[\s\S]{1,2000}/gu;

/** Questions under way, by what makes them the same; ends without an answer when there is none to share. */
export type AnswerFlights = Map<string, Promise<CachedAnswer | undefined>>;

/** What a cached agent works with. */
export interface CachedAgentDependencies {
  readonly cache: AnswerCache;
  /** Shared by all agents of the process; never more than turns under way. */
  readonly flights: AnswerFlights;
  readonly registry: Pick<ModelRegistry, "resolveChain">;
}

/** Puts the cache in front of the runner of an agent. */
export function createCachedAgent(
  runner: AgentRunner,
  config: ModelAgentConfig,
  { cache, flights, registry }: CachedAgentDependencies,
): AgentRunner {
  const timeToLiveMs = (config.cache?.exact.ttlSeconds ?? 0) * 1_000;

  /** Runs the turn; its answer, if it may be given again, is kept and handed to `share` before it goes out. */
  async function* run(
    turn: AgentTurn,
    key: AnswerKey,
    signal: AbortSignal,
    share: (answer: CachedAnswer) => void,
  ): AsyncGenerator<AgentEvent> {
    for await (const event of runner.answer(turn, signal)) {
      const answer = event.type === "finish" ? cachedAnswerOf(event) : undefined;
      if (answer) {
        void cache.put(key, answer, timeToLiveMs);
        share(answer);
      }
      yield event;
    }
  }

  async function* lead(turn: AgentTurn, key: AnswerKey, signal: AbortSignal): AsyncGenerator<AgentEvent> {
    const flight = Promise.withResolvers<CachedAnswer | undefined>();
    flights.set(nameOf(key), flight.promise);
    try {
      yield* run(turn, key, signal, flight.resolve);
    } finally {
      flight.resolve(undefined);
      flights.delete(nameOf(key));
    }
  }

  return {
    async *answer(turn, signal) {
      if (!standsAlone(turn)) return yield* runner.answer(turn, signal);
      const chain = await registry.resolveChain(config.models, signal);
      const models = chain.map(({ model }) => model.id);
      const key = { tenantId: turn.agent.tenantId, hash: hashOf(turn, models) };
      const known = await cache.get(key);
      signal.throwIfAborted();
      if (known) return yield* hit(known);
      const flight = flights.get(nameOf(key));
      if (!flight) return yield* lead(turn, key, signal);
      const shared = await abortable(flight, signal);
      if (shared) yield* hit(shared);
      else yield* run(turn, key, signal, () => {});
    },
  };
}

/** With nothing before it, and with nothing in it that the hash does not see. */
function standsAlone({ content, history, summary, isHistoryIncomplete }: AgentTurn): boolean {
  const isReadable = content.parts.every(({ content: part }) => part.case === "text" || part.case === "data");
  return isReadable && history.length === 0 && summary === undefined && !isHistoryIncomplete;
}

/**
 * All that decides what the answer is. The agent's version stands for its prompt, its parameters and its knowledge;
 * the models are those that the names in its chain mean in this deployment.
 */
function hashOf(turn: AgentTurn, models: readonly string[]): string {
  const { agent, content, instructions, parameters } = turn;
  const question = questionText(content).normalize("NFC").replaceAll("\r\n", "\n").trim();
  const { temperature, topP, outputTokensMax, seed, stop } = parameters;
  const sampling = [temperature, topP, outputTokensMax, seed, stop];
  const identity = [agent.tenantId, agent.id, agent.version, models, sampling, instructions, question];
  return createHash("sha256").update(JSON.stringify(identity)).digest("hex");
}

/** Undefined when it is not to be given again: it is not whole, or stands in for one, or cost nothing. */
function cachedAnswerOf({
  parts,
  metadata,
  record,
}: Extract<AgentEvent, { type: "finish" }>): CachedAnswer | undefined {
  const isWhole = metadata["finishReason"] === "stop" && metadata["degraded"] === undefined;
  if (!isWhole || record.degraded !== undefined || record.model === BUILTIN_MODEL_ID) return undefined;
  return { parts: parts.map((part) => toJson(PartSchema, part)), metadata, model: record.model };
}

/** The answer as it would come from a model, at no cost. */
function* hit({ parts: json, metadata, model }: CachedAnswer): Generator<AgentEvent> {
  const parts = json.map((part) => fromJson(PartSchema, part));
  const text = parts.flatMap(({ content }) => (content.case === "text" ? [content.value] : [])).join("\n");
  for (const piece of text.match(PIECE_PATTERN) ?? []) yield { type: "text-delta", text: piece };
  const usage = { inputTokens: 0, outputTokens: 0 };
  const given: JsonObject = { ...metadata, usage, cached: true };
  yield { type: "finish", parts, metadata: given, record: { model, ...usage, usageEstimated: false } };
}

function nameOf({ tenantId, hash }: AnswerKey): string {
  return `${tenantId}\n${hash}`;
}
