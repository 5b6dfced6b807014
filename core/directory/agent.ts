/**
 * What an agent is: its configuration as stored (JSON, validated by the schema here) and the record that the
 * directory returns. Nothing here knows how an agent answers.
 */
// As a namespace: the named import bundles all of zod, 66 KiB gzip more.
import * as z from "zod";

/** Ids of agents and tenants: they appear in URLs, logs and storage keys. */
export const IDENTIFIER_PATTERN = /^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/;

/** Longest system prompt, characters: more than any model's window leaves room for. */
const SYSTEM_PROMPT_CHARACTERS_MAX = 100_000;
const PRESET_REPLY_CHARACTERS_MAX = 4_000;
/** Of an agent that has none of its own. */
export const PRESET_REPLY_DEFAULT = "I cannot answer at the moment. Please try again in a little while.";
/** A context keeps no more exchanges. */
const TURNS_MAX = 100;
const CACHE_TTL_SECONDS_MAX = 7 * 86_400;
/** A longer chain would outlast every caller's deadline. */
const MODELS_MAX = 8;
const TIMEOUT_MS_MAX = 600_000;
/** Larger than any model's window; smaller than the least takes no question and answer. */
const CONTEXT_TOKENS_MAX = 100_000_000;
const CONTEXT_TOKENS_MIN = 256;
/** A second call any sooner would be made nearly always, any later nobody would wait for. */
const HEDGE_AFTER_MS_MIN = 50;
const HEDGE_AFTER_MS_MAX = 60_000;

/** Longer than anybody waits for an answer. */
const PEER_MESSAGE_TTL_SECONDS_MAX = 7 * 86_400;

/** Below it, questions on the same subject pass for the same question with every embedding model. */
const CACHE_THRESHOLD_MIN = 0.7;

const ttlSeconds = z.int().min(1).max(CACHE_TTL_SECONDS_MAX);
const timeoutMs = z.int().min(100).max(TIMEOUT_MS_MAX);

/**
 * One link of an agent's chain of models. Provider `default` stands for the first model that this deployment
 * has (OpenAI-compatible, else Ollama, else builtin); its `model` is ignored.
 */
export const modelReferenceSchema = z.strictObject({
  provider: z.enum(["default", "openai", "ollama", "builtin"]),
  model: z.string().min(1).max(200).default("default"),
  /** What the model takes, prompt and answer together, tokens. Default: what is known of the model, else 8,192. */
  contextTokens: z.int().min(CONTEXT_TOKENS_MIN).max(CONTEXT_TOKENS_MAX).optional(),
  parameters: z
    .strictObject({
      temperature: z.number().min(0).max(2).optional(),
      topP: z.number().gt(0).max(1).optional(),
      outputTokensMax: z.int().min(1).max(1_000_000).optional(),
      seed: z.int().optional(),
      stop: z.array(z.string().min(1).max(200)).max(4).optional(),
    })
    .prefault({}),
  limits: z
    .strictObject({
      /** Tries on this model, the first included, before the next one of the chain. */
      attemptsMax: z.int().min(1).max(5).default(2),
      /** Default by provider: a server on one's own machine may have to load the model first. */
      firstTokenTimeoutMs: timeoutMs.optional(),
      idleTimeoutMs: timeoutMs.default(15_000),
      totalTimeoutMs: timeoutMs.default(120_000),
    })
    .prefault({}),
});

/** The configuration of an agent, by kind. Unknown fields are refused. */
export const agentConfigSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("model"),
    models: z.array(modelReferenceSchema).min(1).max(MODELS_MAX),
    /** Asked in place of the rest of `models` when the text is too long for one of them. */
    contextWindowFallbacks: z.array(modelReferenceSchema).max(MODELS_MAX).default([]),
    /** Asked in place of the rest of `models` when a provider's content policy refuses the text. */
    contentPolicyFallbacks: z.array(modelReferenceSchema).max(MODELS_MAX).default([]),
    /** Asks the second of `models`, too, when the first has not begun to answer after so long. */
    hedge: z.strictObject({ afterMs: z.int().min(HEDGE_AFTER_MS_MIN).max(HEDGE_AFTER_MS_MAX) }).optional(),
    systemPrompt: z.string().max(SYSTEM_PROMPT_CHARACTERS_MAX).default(""),
    /** Collection of documents that the agent answers from. */
    knowledge: z.strictObject({ collection: z.string().regex(IDENTIFIER_PATTERN) }).optional(),
    /** What the agent remembers of a conversation. */
    context: z
      .strictObject({
        /** Earlier questions, with their answers, that models are shown at most; 0 for none. */
        turnsMax: z.int().min(0).max(TURNS_MAX).default(TURNS_MAX),
        /** Whether what no longer fits the first model's window is kept as a summary, made by the agent's models. */
        summarize: z.boolean().default(true),
      })
      .optional(),
    /** When an answer is given again. */
    cache: z
      .strictObject({
        /** To the same question, asked without a conversation, for so long at most. */
        exact: z.strictObject({ ttlSeconds }).optional(),
        /** Also to a question whose embedding has at least this cosine with that of the one that was answered. */
        semantic: z
          .strictObject({ threshold: z.number().min(CACHE_THRESHOLD_MIN).max(1), ttlSeconds })
          .optional(),
      })
      .refine(({ exact, semantic }) => exact !== undefined || semantic !== undefined, {
        error: "give `exact`, `semantic` or both",
      })
      .optional(),
    /** How it answers on the OpenAI-compatible surface, whose streams cannot take back what they have sent. */
    completions: z
      .strictObject({
        /** Streams begin when the answer is whole: they survive every failure of a model, and are slower to begin. */
        holdBack: z.boolean(),
      })
      .optional(),
    /** What the agent says when no model answers. */
    presetReply: z.string().min(1).max(PRESET_REPLY_CHARACTERS_MAX).default(PRESET_REPLY_DEFAULT),
  }),
  z.strictObject({ kind: z.literal("echo") }),
  /** Answered by whoever connects with this agent's id as its subject; what comes meanwhile waits in a mailbox. */
  z.strictObject({
    kind: z.literal("peer"),
    /** How long a message waits at most, unless its sender says less. */
    messageTtlSeconds: z.int().min(1).max(PEER_MESSAGE_TTL_SECONDS_MAX).default(86_400),
  }),
]);

/** A validated configuration. */
export type AgentConfig = z.output<typeof agentConfigSchema>;

/** A configuration of an agent that answers with language models. */
export type ModelAgentConfig = Extract<AgentConfig, { kind: "model" }>;

/** A link of the chain, validated, defaults filled in. */
export type ModelReference = z.output<typeof modelReferenceSchema>;

/** An agent as the directory knows it. */
export interface Agent {
  readonly tenantId: string;
  /** Its `receiver_id`. */
  readonly id: string;
  readonly name: string;
  readonly description: string;
  /** Counts changes, from 1. */
  readonly version: number;
  readonly config: AgentConfig;
  readonly updatedAtMs: number;
}
