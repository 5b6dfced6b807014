/**
 * Keeps conversations within their models' windows: when what is kept of one has grown past most of the window, the
 * agent's own models make a summary of its oldest part, which then gives way to it. All of it happens after the reply,
 * in the background; when it fails, nothing is lost but what no longer fits the window.
 */

import type { Agent, ModelAgentConfig } from "../../core/directory/agent.ts";
import { LruMap } from "../../core/directory/lru-map.ts";
import { Deadline } from "../../core/resilience/deadline.ts";
import type { AnswerOptions, ModelAttempt, ModelLink } from "../llm/answer-event.ts";
import { BUILTIN_MODEL_ID } from "../llm/builtin-language-model.ts";
import { promptTokensMax } from "../llm/context-window.ts";
import type { ModelManager } from "../llm/model-manager.ts";
import type { ModelRegistry } from "../llm/model-registry.ts";
import type { TokenCounter } from "../llm/token-counter.ts";
import {
  type ConversationExchange,
  type ConversationKey,
  type ConversationMemory,
  type StoredConversation,
  tokensOf,
} from "../stores/conversation-memory.ts";
import type { SummaryCalls } from "../tasks/log-attempt.ts";
import type { AgentTurn } from "./agent-runner.ts";
import { SUMMARY_PROMPT_TOKENS, summaryPrompt } from "./summary-prompt.ts";

/** A conversation that has grown past this part of the window is summarised, so that the next turn still fits. */
const START_FRACTION = 0.75;
/** Of the window, for the newest exchanges, which stay as they are. */
const KEEP_FRACTION = 0.4;
/** Of the window, for the summary, and never more than this many tokens. */
const SUMMARY_FRACTION = 0.125;
const SUMMARY_TOKENS_MAX = 1_024;
/** Fewer characters than this make a token in no common language; a turn is cut to what a step can take. */
const CHARACTERS_PER_TOKEN_MIN = 1;
/** But never to less: of a window too small for that, no summary comes. */
const TURN_CHARACTERS_MIN = 64;
/** A model that does not keep to its limit must not fill the window with its summary. */
const SUMMARY_CHARACTERS_PER_TOKEN_MAX = 6;
/** Of a conversation much longer than the window, one step after another. */
const STEPS_MAX = 16;
/** Answers come first: on a machine of its own, a model has one place. */
const JOBS_AT_ONCE_MAX = 2;
/** Conversations that wait; one that finds no room comes again with its next turn. */
const JOBS_WAITING_MAX = 100;
/** For all steps of one conversation. */
const JOB_DEADLINE_MS = 120_000;
/** After a failure, the conversation is left alone for so long. */
const PAUSE_AFTER_FAILURE_MS = 60_000;
const PAUSES_MAX = 1_000;

/** What it works with. */
export interface ConversationSummarizerOptions {
  readonly memory: ConversationMemory;
  readonly registry: Pick<ModelRegistry, "resolveChain">;
  readonly managerFor: (turn: Pick<AgentTurn, "agent" | "requestId" | "onAttempt">) => ModelManager;
  readonly counter: TokenCounter;
  /** Monotonic, milliseconds. */
  readonly now: () => number;
  /** Told of the calls of models that a step took, whatever came of them. */
  readonly onCalls: (calls: SummaryCalls) => void;
  /** Told how each job ended: exchanges that gave way, or `error`. */
  readonly onEnd: (job: ConversationKey & { readonly exchanges: number; readonly error?: unknown }) => void;
}

/** A turn that has been answered and remembered. */
export interface RememberedTurn {
  readonly agent: Agent;
  readonly key: ConversationKey;
  /** The API key of its caller; empty for a caller without one. */
  readonly keyId: string;
  /** Of all exchanges that are kept; undefined when the store cannot say. */
  readonly tokens: number | undefined;
}

type SummaryCall = Pick<AnswerOptions, "chain" | "deadline"> & Pick<AgentTurn, "onAttempt">;
type Job = RememberedTurn & { readonly config: ModelAgentConfig };

/** See above. */
export class ConversationSummarizer {
  readonly #options: ConversationSummarizerOptions;
  /** Waiting and under way, by conversation. */
  readonly #jobs = new Map<string, Promise<void>>();
  readonly #waiting: (() => void)[] = [];
  readonly #pausedUntilMs = new LruMap<number>(PAUSES_MAX);
  readonly #stop = new AbortController();
  #active = 0;

  constructor(options: ConversationSummarizerOptions) {
    this.#options = options;
  }

  /** To be told of every turn; costs next to nothing when there is nothing to do. */
  consider(turn: RememberedTurn): void {
    const { config } = turn.agent;
    if (turn.tokens === undefined || config.kind !== "model" || config.context?.summarize === false) return;
    const text = `${turn.key.tenantId}\n${turn.key.contextId}`;
    const isPaused = (this.#pausedUntilMs.get(text) ?? 0) > this.#options.now();
    if (isPaused || this.#jobs.has(text) || this.#jobs.size >= JOBS_AT_ONCE_MAX + JOBS_WAITING_MAX) return;
    const job = this.#run({ ...turn, config }, text).finally(() => this.#jobs.delete(text));
    this.#jobs.set(text, job);
  }

  /** Resolves when nothing is under way any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#jobs.values());
  }

  /** Ends what is under way; nothing is begun any more. */
  async close(): Promise<void> {
    this.#stop.abort(new Error("the backend is shutting down"));
    for (const begin of this.#waiting.splice(0)) begin();
    await this.settled();
  }

  async #run(job: Job, text: string): Promise<void> {
    const { tenantId, contextId } = job.key;
    const name = { tenantId, contextId };
    let exchanges = 0;
    try {
      const chain = await this.#chainOf(job);
      const [first] = chain;
      if (!first || (job.tokens ?? 0) <= START_FRACTION * promptTokensMax(first)) return;
      await this.#turnToRun();
      try {
        for await (const count of this.#steps(job, chain, first)) exchanges += count;
      } finally {
        const next = this.#waiting.shift();
        if (next) next();
        else this.#active -= 1;
      }
      this.#options.onEnd({ ...name, exchanges });
    } catch (error) {
      this.#pausedUntilMs.set(text, this.#options.now() + PAUSE_AFTER_FAILURE_MS);
      this.#options.onEnd({ ...name, exchanges, error });
    }
  }

  /** The agent's models but the builtin one, which understands nothing. */
  async #chainOf({ config }: Job): Promise<ModelLink[]> {
    const chain = await this.#options.registry.resolveChain(config.models, this.#stop.signal);
    return chain.filter(({ model }) => model.id !== BUILTIN_MODEL_ID);
  }

  /** Who ends hands its place to the one that has waited longest. */
  async #turnToRun(): Promise<void> {
    if (this.#active >= JOBS_AT_ONCE_MAX) await new Promise<void>((begin) => this.#waiting.push(begin));
    else this.#active += 1;
    this.#stop.signal.throwIfAborted();
  }

  /** Yields how many exchanges have given way, step by step, until the rest may stay. */
  async *#steps(job: Job, chain: readonly ModelLink[], first: ModelLink): AsyncGenerator<number> {
    const { memory, counter, now } = this.#options;
    const window = promptTokensMax(first);
    const summaryTokensMax = Math.min(Math.floor(window * SUMMARY_FRACTION), SUMMARY_TOKENS_MAX);
    const deadline = Deadline.after(JOB_DEADLINE_MS, now);
    for (let step = 0; step < STEPS_MAX; step += 1) {
      const kept = await memory.read(job.key);
      if (!kept || tokensOfAll(kept) <= START_FRACTION * window) return;
      const exchanges = exchangesOfStep(kept, window, window - 2 * summaryTokensMax);
      const last = exchanges.at(-1);
      if (!last) return;
      const messages = summaryPrompt({
        summary: kept.summary,
        exchanges,
        summaryTokensMax,
        turnCharactersMax: Math.max(
          Math.floor(
            ((window - 2 * summaryTokensMax - SUMMARY_PROMPT_TOKENS) / 2) * CHARACTERS_PER_TOKEN_MIN,
          ),
          TURN_CHARACTERS_MIN,
        ),
      });
      const links = chain.map((link) => ({
        ...link,
        messages,
        parameters: { ...link.parameters, outputTokensMax: summaryTokensMax, stop: undefined },
      }));
      const said = await this.#ask(job, links, deadline);
      const text = said.slice(0, summaryTokensMax * SUMMARY_CHARACTERS_PER_TOKEN_MAX);
      const summary = { text, tokens: await counter.count(text) };
      const { revision } = kept;
      if (!(await memory.compact(job.key, { revision, throughExchangeId: last.id, summary }))) return;
      yield exchanges.length;
    }
  }

  async #ask(job: Job, chain: readonly ModelLink[], deadline: Deadline): Promise<string> {
    const { agent, key, keyId } = job;
    const attempts: ModelAttempt[] = [];
    try {
      return await this.#answer(job, { chain, deadline, onAttempt: (attempt) => attempts.push(attempt) });
    } finally {
      const { tenantId, contextId } = key;
      if (attempts.length > 0)
        this.#options.onCalls({ tenantId, contextId, agentId: agent.id, keyId, attempts });
    }
  }

  async #answer({ agent, config: { presetReply } }: Job, call: SummaryCall): Promise<string> {
    const { chain, deadline, onAttempt } = call;
    const manager = this.#options.managerFor({ agent, requestId: "summary", onAttempt });
    const request = { messages: [], question: "", passages: [] };
    for await (const event of manager.answer({
      ...{ chain, request, presetReply, deadline },
      signal: this.#stop.signal,
    })) {
      if (event.type !== "finish") continue;
      if (event.answer.degraded) throw new Error("no model made a summary");
      return event.answer.text.trim();
    }
    throw new Error("a manager ended its answer without finishing it");
  }
}

/** The oldest exchanges, as many as one step takes, without those that may stay; at least one, or none. */
function exchangesOfStep(
  { exchanges }: StoredConversation,
  window: number,
  stepTokensMax: number,
): readonly ConversationExchange[] {
  let keptTokens = 0;
  let end = exchanges.length;
  for (const exchange of exchanges.toReversed()) {
    keptTokens += tokensOf(exchange);
    if (keptTokens > KEEP_FRACTION * window) break;
    end -= 1;
  }
  const old = exchanges.slice(0, Math.min(end, exchanges.length - 1));
  let stepTokens = SUMMARY_PROMPT_TOKENS;
  const count = old.findIndex((exchange) => {
    stepTokens += tokensOf(exchange);
    return stepTokens > stepTokensMax;
  });
  return count < 0 ? old : old.slice(0, Math.max(1, count));
}

function tokensOfAll({ exchanges }: StoredConversation): number {
  return exchanges.reduce((sum, exchange) => sum + tokensOf(exchange), 0);
}
