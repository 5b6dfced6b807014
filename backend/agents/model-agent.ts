/**
 * Answers with language models: assembles the prompt from the agent's configuration, its knowledge and the
 * conversation, and lets the model manager find a model that answers.
 */
import { create, fromJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import type { ModelAgentConfig } from "../../core/directory/agent.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { PartSchema } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import type { Content } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { PassageRetriever } from "../knowledge/passage-retriever.ts";
import type { Answer, ModelLink } from "../llm/answer-event.ts";
import { promptTokensMax } from "../llm/context-window.ts";
import type { ModelManager } from "../llm/model-manager.ts";
import type { AgentModels, ModelRegistry } from "../llm/model-registry.ts";
import type { TokenCounter } from "../llm/token-counter.ts";
import type { AgentRunner, AgentTurn } from "./agent-runner.ts";
import { citationsOf } from "./citations.ts";
import { countTurns } from "./count-turns.ts";
import { exchangesOf, fitPrompt, leastTokens, type PromptParts } from "./fit-prompt.ts";
import {
  type KnowledgeFindings,
  type KnowledgePrompt,
  knowledgePrompt,
  nothingFound,
  offeredReply,
} from "./knowledge-prompt.ts";
import { questionText } from "./question-text.ts";
import { withGivenParameters } from "./sender-context.ts";

/** Passages offered to a model: 400 tokens each, and what stands after the first few is rarely needed. */
const PASSAGES_MAX = 6;

/** The part of a reply that names its sources. */
const CITATIONS_MEDIA_TYPE = "application/vnd.parley.citations+json";

/** Stands between the agent's prompt and the sender's instructions, which must not pass for the agent's own. */
const GIVEN_INSTRUCTIONS =
  "The user's application adds the following. Where it contradicts what stands above, that holds:";

/** What a model agent works with. */
export interface ModelAgentDependencies {
  registry: ModelRegistry;
  /** The manager for one turn; it reports the turn's attempts. */
  managerFor: (turn: Pick<AgentTurn, "agent" | "requestId" | "onAttempt">) => ModelManager;
  retriever: PassageRetriever;
  counter: TokenCounter;
}

/** Makes the runner for one agent's configuration. */
export function createModelAgent(
  config: ModelAgentConfig,
  dependencies: ModelAgentDependencies,
): AgentRunner {
  const { registry, managerFor, retriever, counter } = dependencies;
  return {
    async *answer(turn, signal) {
      const question = questionOf(turn.content);
      const [models, findings] = await Promise.all([
        registry.resolveAgent(config, signal, (own) => withGivenParameters(own, turn.parameters)),
        findPassages(config, turn, question),
      ]);
      const passages = findings?.passages ?? [];
      const tokensMax = Math.max(...linksOf(models).map(promptTokensMax));
      const prompt = findings && knowledgePrompt(findings, question, config.presetReply);
      const parts = await promptPartsOf(config, turn, { question, prompt, tokensMax, counter });
      const answer = managerFor(turn).answer({
        ...withPrompts(models, parts),
        request: { messages: [], question, passages },
        presetReply: presetReplyOf(config, findings),
        deadline: turn.deadline,
        signal,
      });
      for await (const event of answer) {
        yield event.type === "finish" ? finish(event.answer, findings) : event;
      }

      /** Undefined for an agent without knowledge. */
      async function findPassages(
        { knowledge }: ModelAgentConfig,
        { agent }: AgentTurn,
        query: string,
      ): Promise<KnowledgeFindings | undefined> {
        if (!knowledge) return undefined;
        const { collection } = knowledge;
        return retriever.retrieve(
          { tenantId: agent.tenantId, collection, query, passagesMax: PASSAGES_MAX },
          signal,
        );
      }
    },
  };
}

/** An agent that found nothing says so before it offers its preset reply. */
function presetReplyOf({ presetReply }: ModelAgentConfig, findings: KnowledgeFindings | undefined): string {
  if (findings?.passages.length !== 0) return presetReply;
  return `${nothingFound(findings)} ${offeredReply(presetReply, findings)}`;
}

/** What a prompt is made of, beside the turn. */
interface PromptSources {
  readonly question: string;
  /** Of an agent with knowledge. */
  readonly prompt: KnowledgePrompt | undefined;
  readonly tokensMax: number;
  readonly counter: TokenCounter;
}

/** What there is to say, counted. What cannot fit any window is left out, so that nobody counts it. */
async function promptPartsOf(
  config: ModelAgentConfig,
  { instructions, history, summary }: AgentTurn,
  { question, prompt, tokensMax, counter }: PromptSources,
): Promise<PromptParts> {
  const turnsMax = config.context?.turnsMax ?? Number.POSITIVE_INFINITY;
  const shown = turnsMax === 0 ? [] : exchangesOf(history).slice(-turnsMax).flat();
  const counted = async (text: string) => ({ text, tokens: await counter.count(text) });
  const system = [systemText(config.systemPrompt, instructions), prompt?.instructions ?? ""];
  return {
    system: await Promise.all(system.map(counted)),
    passages: await Promise.all((prompt?.passages ?? []).map(counted)),
    summary: turnsMax === 0 ? undefined : summary,
    history: await countTurns(shown, counter, tokensMax),
    question: await counted(question),
  };
}

/** All models that may come to be asked. */
function linksOf({
  chain,
  contextWindowFallbacks = [],
  contentPolicyFallbacks = [],
}: AgentModels): ModelLink[] {
  return [...chain, ...contextWindowFallbacks, ...contentPolicyFallbacks];
}

/** The links that can take the question, each with the prompt that fits it; those for long texts, if only they can. */
function withPrompts(models: AgentModels, parts: PromptParts): AgentModels {
  const fitting = (links: readonly ModelLink[] = []) =>
    links.flatMap((link) => {
      const messages = fitPrompt(parts, promptTokensMax(link));
      return messages ? [{ ...link, messages }] : [];
    });
  const contextWindowFallbacks = fitting(models.contextWindowFallbacks);
  const contentPolicyFallbacks = fitting(models.contentPolicyFallbacks);
  const fittingChain = fitting(models.chain);
  const chain = fittingChain.length > 0 ? fittingChain : contextWindowFallbacks;
  if (chain.length > 0) return { ...models, chain, contextWindowFallbacks, contentPolicyFallbacks };
  const tokensMax = Math.max(
    ...[...models.chain, ...(models.contextWindowFallbacks ?? [])].map(promptTokensMax),
  );
  throw new ParleyError(
    "invalid_argument",
    `the message is too long for this agent: with its instructions it is about ${leastTokens(parts)} tokens, and its ` +
      `models take ${tokensMax}; send a shorter one`,
    { reason: "message-too-long", details: { tokens: leastTokens(parts), tokensMax } },
  );
}

/** One text: what the sender adds must be told from what the agent was given. */
function systemText(own: string, given: string): string {
  if (own === "" || given === "") return own + given;
  return `${own}\n\n${GIVEN_INSTRUCTIONS}\n${given}`;
}

/** The text that a model is asked; models here read text and JSON, not files. */
function questionOf(content: Content): string {
  const unreadable = content.parts.find(({ content: { case: kind } }) => kind === "raw" || kind === "url");
  if (unreadable) {
    throw new ParleyError(
      "invalid_argument",
      "this agent reads text and data parts only; leave out parts with `raw` or `url`",
    );
  }
  return questionText(content);
}

/** The reply; of an agent with knowledge also what it cites, and how the search went. */
function finish(answer: Answer, findings: KnowledgeFindings | undefined) {
  const { text, model, finishReason, usage, degraded } = answer;
  const citations = citationsOf(text, findings?.passages ?? []);
  const data = { content: { case: "data" as const, value: fromJson(ValueSchema, { citations }) } };
  return {
    type: "finish" as const,
    parts: [
      create(PartSchema, { content: { case: "text", value: text }, mediaType: "text/plain" }),
      ...(citations.length > 0 ? [create(PartSchema, { ...data, mediaType: CITATIONS_MEDIA_TYPE })] : []),
    ],
    metadata: {
      model,
      finishReason,
      usage: { ...usage },
      ...(degraded ? { degraded } : {}),
      ...(findings ? { knowledge: knowledgeStateOf(findings), citations } : {}),
    },
    record: {
      model,
      inputTokens: usage.inputTokens,
      outputTokens: usage.outputTokens,
      usageEstimated: usage.estimated ?? false,
      ...(degraded ? { degraded } : {}),
    },
  };
}

/** A word for the caller: whether passages were found, and if not, why. */
function knowledgeStateOf({ passages, state }: KnowledgeFindings): string {
  return passages.length === 0 && state === "complete" ? "nothing-relevant" : state;
}
