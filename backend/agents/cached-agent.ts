/**
 * Gives an agent's answer again to the same question, for agents that want that. Only questions that stand alone are
 * looked up and kept: an answer in a conversation belongs to that conversation. The same question: word for word or, if
 * the agent wants that, one that means nearly the same. Equal questions at the same time are
 * one question: who asks first is answered as ever, the others get that answer when it is whole, and ask themselves
 * when there is none, for whatever reason.
 */
import { createHash } from "node:crypto";
import { fromJson, type JsonObject, toJson } from "@bufbuild/protobuf";
import { abortable } from "../../core/directory/abortable.ts";
import type { ModelAgentConfig } from "../../core/directory/agent.ts";
import { PartSchema } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import type { CollectionRevisions } from "../knowledge/collection-revisions.ts";
import { BUILTIN_MODEL_ID } from "../llm/builtin-language-model.ts";
import type { ModelRegistry } from "../llm/model-registry.ts";
import type { AgentEvent, AgentRunner, AgentTurn } from "./agent-runner.ts";
import type { AnswerCache, AnswerKey, CachedAnswer } from "./answer-cache.ts";
import { questionText } from "./question-text.ts";
import type { ContextFreeQuestion, SimilarAnswers } from "./similar-answers.ts";

/** Characters of one piece of a cached answer: an event each. */
const PIECE_PATTERN = /[\s\S]{1,2000}/gu;

/** Of a reply's metadata: without knowledge, or with all of it searched. */
const WELL_INFORMED: ReadonlySet<unknown> = new Set([undefined, "complete", "nothing-relevant"]);

/** What a reply says of having been given before. */
type HitMark = { cached: "exact" } | { cached: "semantic"; similarity: number };

/** Questions under way, by what makes them the same; ends without an answer when there is none to share. */
export type AnswerFlights = Map<string, Promise<CachedAnswer | undefined>>;

/** The state of an agent's knowledge is known within this time, or its answers are not given again. */
const REVISION_WAIT_MS = 300;

/** What a cached agent works with. */
export interface CachedAgentDependencies {
  readonly cache: AnswerCache;
  readonly similar: SimilarAnswers;
  readonly revisions: Pick<CollectionRevisions, "current">;
  /** Shared by all agents of the process; never more than turns under way. */
  readonly flights: AnswerFlights;
  readonly registry: Pick<ModelRegistry, "resolveChain">;
}

/** A question that stands alone. */
interface Question extends ContextFreeQuestion {
  readonly key: AnswerKey;
}

/** Puts the cache in front of the runner of an agent. */
export function createCachedAgent(
  runner: AgentRunner,
  config: ModelAgentConfig,
  { cache, similar, revisions, flights, registry }: CachedAgentDependencies,
): AgentRunner {
  const { exact, semantic } = config.cache ?? {};

  /** Runs the turn, if no similar one has an answer; an answer that may be given again is kept and shared, too. */
  async function* run(
    turn: AgentTurn,
    question: Question,
    signal: AbortSignal,
    share: (answer: CachedAnswer) => void,
  ): AsyncGenerator<AgentEvent> {
    const near = semantic && (await similar.find(question, semantic.threshold, signal));
    if (near?.found) {
      share(near.found.answer);
      return yield* hit(near.found.answer, { cached: "semantic", similarity: near.found.similarity });
    }
    for await (const event of runner.answer(turn, signal)) {
      const answer = event.type === "finish" ? cachedAnswerOf(event) : undefined;
      if (answer) {
        if (exact) void cache.put(question.key, answer, exact.ttlSeconds * 1_000);
        if (semantic) void near?.keep(answer, semantic.ttlSeconds * 1_000);
        share(answer);
      }
      yield event;
    }
  }

  async function* lead(turn: AgentTurn, question: Question, signal: AbortSignal): AsyncGenerator<AgentEvent> {
    const flight = Promise.withResolvers<CachedAnswer | undefined>();
    const name = nameOf(question.key);
    flights.set(name, flight.promise);
    try {
      yield* run(turn, question, signal, flight.resolve);
    } finally {
      flight.resolve(undefined);
      flights.delete(name);
    }
  }

  /** Undefined while it is not known; then nothing is looked up or kept. */
  async function knowledgeRevision({ agent }: AgentTurn, signal: AbortSignal): Promise<string | undefined> {
    if (!config.knowledge) return "";
    const limited = AbortSignal.any([signal, AbortSignal.timeout(REVISION_WAIT_MS)]);
    try {
      const asked = revisions.current(agent.tenantId, config.knowledge.collection, limited);
      return await abortable(asked, limited);
    } catch {
      signal.throwIfAborted();
      return undefined;
    }
  }

  return {
    async *answer(turn, signal) {
      if (!standsAlone(turn)) return yield* runner.answer(turn, signal);
      const [chain, revision] = await Promise.all([
        registry.resolveChain(config.models, signal),
        knowledgeRevision(turn, signal),
      ]);
      if (revision === undefined) return yield* runner.answer(turn, signal);
      const models = chain.map(({ model }) => model.id);
      const question = questionOf(turn, models, revision);
      const known = exact && (await cache.get(question.key));
      signal.throwIfAborted();
      if (known) return yield* hit(known, { cached: "exact" });
      const flight = flights.get(nameOf(question.key));
      if (!flight) return yield* lead(turn, question, signal);
      const shared = await abortable(flight, signal);
      if (shared) yield* hit(shared, { cached: "exact" });
      else yield* run(turn, question, signal, () => {});
    },
  };
}

/** With nothing before it, and with nothing in it that the hash does not see. */
function standsAlone({ content, history, summary, isHistoryIncomplete }: AgentTurn): boolean {
  const isReadable = content.parts.every(({ content: part }) => part.case === "text" || part.case === "data");
  return isReadable && history.length === 0 && summary === undefined && !isHistoryIncomplete;
}

/**
 * The question, and all that decides what the answer is. The agent's version stands for its prompt and its parameters,
 * the revision for what its documents say; the models are those that its chain's names mean in this deployment.
 */
function questionOf(turn: AgentTurn, models: readonly string[], revision: string): Question {
  const { agent, content, instructions, parameters } = turn;
  const { tenantId, id: agentId } = agent;
  const text = questionText(content).normalize("NFC").replaceAll("\r\n", "\n").trim();
  const { temperature, topP, outputTokensMax, seed, stop } = parameters;
  const sampling = [temperature, topP, outputTokensMax, seed, stop];
  const given = [tenantId, agentId, agent.version, revision, models, sampling, instructions];
  const identity = JSON.stringify(given);
  const hash = createHash("sha256")
    .update(JSON.stringify([identity, text]))
    .digest("hex");
  return { tenantId, agentId, text, identity, key: { tenantId, hash } };
}

/**
 * Undefined when it is not to be given again: it is not whole, or stands in for one, or was made without all that its
 * agent knows, or cost nothing.
 */
function cachedAnswerOf({
  parts,
  metadata,
  record,
}: Extract<AgentEvent, { type: "finish" }>): CachedAnswer | undefined {
  const isWhole = metadata["finishReason"] === "stop" && metadata["degraded"] === undefined;
  if (!isWhole || record.degraded !== undefined || record.model === BUILTIN_MODEL_ID) return undefined;
  if (!WELL_INFORMED.has(metadata["knowledge"])) return undefined;
  return { parts: parts.map((part) => toJson(PartSchema, part)), metadata, model: record.model };
}

/** The answer as it would come from a model, at no cost. */
function* hit({ parts: json, metadata, model }: CachedAnswer, mark: HitMark): Generator<AgentEvent> {
  const parts = json.map((part) => fromJson(PartSchema, part));
  const text = parts.flatMap(({ content }) => (content.case === "text" ? [content.value] : [])).join("\n");
  for (const piece of text.match(PIECE_PATTERN) ?? []) yield { type: "text-delta", text: piece };
  const usage = { inputTokens: 0, outputTokens: 0 };
  const given: JsonObject = { ...metadata, usage, ...mark };
  const record = { model, ...usage, usageEstimated: false, cached: mark.cached };
  yield { type: "finish", parts, metadata: given, record };
}

function nameOf({ tenantId, hash }: AnswerKey): string {
  return `${tenantId}\n${hash}`;
}
