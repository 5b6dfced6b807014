/**
 * Knows which models this deployment has, and makes a reference in an agent's configuration into a model that
 * can be asked. Never fails: what is not there resolves to a model whose calls fail, and the chain goes on.
 */
import type { ModelAgentConfig, ModelReference } from "../../core/directory/agent.ts";
import { LruMap } from "../../core/directory/lru-map.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import type { AnswerOptions, ModelLink } from "./answer-event.ts";
import { BuiltinLanguageModel } from "./builtin-language-model.ts";
import { CachedProbe } from "./cached-probe.ts";
import { ConcurrencyGate } from "./concurrency-gate.ts";
import { CONTEXT_TOKENS_DEFAULT } from "./context-window.ts";
import { hostOf } from "./host-of.ts";
import type { LanguageModel, ModelParameters } from "./language-model.ts";
import { listOllamaModels, listOpenaiModels } from "./list-models.ts";
import { OllamaLanguageModel } from "./ollama-language-model.ts";
import {
  isOpenaiOwn,
  OPENAI_BASE_URL,
  type OpenaiClientSource,
  openaiClientSource,
} from "./openai-client.ts";
import { OpenaiLanguageModel } from "./openai-language-model.ts";
import { UnavailableLanguageModel } from "./unavailable-language-model.ts";

/** Asked of OpenAI when nothing names a model: small, quick, cheap. */
export const OPENAI_MODEL_DEFAULT = "gpt-5-mini";
/** As a model's name in a reference: whichever the provider has. */
const ANY_MODEL = "default";
/** Ollama runs on this machine or near it; whoever waits for this, waits for a first token. */
const OLLAMA_PROBE_TIMEOUT_MS = 1_000;
/** A list of models comes from farther away. */
const OPENAI_PROBE_TIMEOUT_MS = 3_000;
/** Models whose window is remembered; a machine has far fewer. */
const OLLAMA_WINDOWS_MAX = 1_000;
/** Limit on the first token where an agent sets none: an answer that takes longer is worth another model's try. */
export const FIRST_TOKEN_TIMEOUT_MS = 12_000;
/** The same for Ollama, which answers nothing, not even headers, while it loads the model. */
export const OLLAMA_FIRST_TOKEN_TIMEOUT_MS = 30_000;
/** Calls that wait for one place at a host's gate: more would wait in vain. */
const WAITING_PER_PLACE = 8;

/** Which providers this deployment has. */
export interface ModelsConfig {
  /** Any OpenAI-compatible server; without key and address there is none. */
  readonly openai?:
    | {
        readonly apiKey?: string | undefined;
        readonly baseUrl?: string | undefined;
        readonly model?: string | undefined;
      }
    | undefined;
  /** Where an Ollama server may be found. */
  readonly ollama: {
    readonly host: string;
    readonly model?: string | undefined;
    /** Calls that it gets at once. Default: no limit. */
    readonly concurrencyMax?: number | undefined;
  };
}

/** What an agent's configuration says about its models. */
type ModelsOfConfig = Pick<
  ModelAgentConfig,
  "models" | "contextWindowFallbacks" | "contentPolicyFallbacks" | "hedge"
>;

/** The same, as models that can be asked. */
export type AgentModels = Pick<
  AnswerOptions,
  "chain" | "contextWindowFallbacks" | "contentPolicyFallbacks" | "hedge"
>;

/** All that the registry touches. */
export interface ModelRegistryOptions {
  readonly config: ModelsConfig;
  readonly now: Clock;
  /** Default the platform's. */
  readonly fetch?: typeof fetch | undefined;
}

/** The models of one deployment. */
export class ModelRegistry {
  readonly #options: ModelRegistryOptions;
  readonly #builtin = new BuiltinLanguageModel();
  readonly #openai: OpenaiClientSource | undefined;
  readonly #openaiModels: CachedProbe<string[]>;
  readonly #ollamaModels: CachedProbe<string[]>;
  /** By model, the largest that any agent has asked for: after a while always the same, for all agents. */
  readonly #ollamaWindows = new LruMap<number>(OLLAMA_WINDOWS_MAX);
  readonly #ollamaHost: string;
  readonly #ollamaGate: ConcurrencyGate | undefined;

  constructor(options: ModelRegistryOptions) {
    const { config, now, fetch } = options;
    const { apiKey, baseUrl } = config.openai ?? {};
    const openai = apiKey || baseUrl ? openaiClientSource({ apiKey, baseUrl, fetch }) : undefined;
    const activeMax = config.ollama.concurrencyMax;
    this.#options = options;
    this.#openai = openai;
    this.#ollamaHost = hostOf(config.ollama.host);
    this.#ollamaGate =
      activeMax === undefined
        ? undefined
        : new ConcurrencyGate({ activeMax, waitingMax: activeMax * WAITING_PER_PLACE });
    this.#openaiModels = new CachedProbe({
      ask: async (signal) => (openai ? listOpenaiModels(openai, signal) : []),
      timeoutMs: OPENAI_PROBE_TIMEOUT_MS,
      now,
    });
    this.#ollamaModels = new CachedProbe({
      ask: (signal) => listOllamaModels({ host: config.ollama.host, fetch }, signal),
      timeoutMs: OLLAMA_PROBE_TIMEOUT_MS,
      now,
    });
  }

  /** The model of a reference. Rejects only with the reason of `signal`. */
  async resolve(
    { provider, model, contextTokens }: Pick<ModelReference, "provider" | "model" | "contextTokens">,
    signal: AbortSignal,
  ): Promise<LanguageModel> {
    if (provider === "openai") return this.#resolveOpenai(model, signal);
    if (provider === "ollama") return this.#resolveOllama(model, contextTokens, signal);
    return provider === "builtin" ? this.#builtin : this.#resolveDefault(contextTokens, signal);
  }

  /** The links of a chain, all resolved, in order. Rejects only with the reason of `signal`. */
  resolveChain(references: readonly ModelReference[], signal: AbortSignal): Promise<ModelLink[]> {
    return Promise.all(
      references.map(async (reference) => this.#link(await this.resolve(reference, signal), reference)),
    );
  }

  /**
   * All that an agent says about which models are to answer; `parametersFor` makes the parameters of this request
   * from a link's own. Rejects only with the reason of `signal`.
   */
  async resolveAgent(
    { models, contextWindowFallbacks, contentPolicyFallbacks, hedge }: ModelsOfConfig,
    signal: AbortSignal,
    parametersFor: (own: ModelParameters) => ModelParameters = (own) => own,
  ): Promise<AgentModels> {
    const resolve = async (list: readonly ModelReference[]) => {
      const links = await this.resolveChain(list, signal);
      return links.map((link) => ({ ...link, parameters: parametersFor(link.parameters) }));
    };
    const [chain, forLongTexts, forRefusedTexts] = await Promise.all([
      resolve(models),
      resolve(contextWindowFallbacks),
      resolve(contentPolicyFallbacks),
    ]);
    return {
      chain,
      contextWindowFallbacks: forLongTexts,
      contentPolicyFallbacks: forRefusedTexts,
      hedge,
    };
  }

  #link(model: LanguageModel, { parameters, limits, contextTokens }: ModelReference): ModelLink {
    const isOllama = model.host === this.#ollamaHost;
    const firstTokenTimeoutMs = isOllama ? OLLAMA_FIRST_TOKEN_TIMEOUT_MS : FIRST_TOKEN_TIMEOUT_MS;
    return {
      model,
      parameters,
      ...limits,
      firstTokenTimeoutMs: limits.firstTokenTimeoutMs ?? firstTokenTimeoutMs,
      contextTokens,
      gate: isOllama ? this.#ollamaGate : undefined,
    };
  }

  async #resolveDefault(contextTokens: number | undefined, signal: AbortSignal): Promise<LanguageModel> {
    if (this.#openai) return this.#resolveOpenai(ANY_MODEL, signal);
    const found = await this.#ollamaModels.get(signal);
    const model = found && (this.#options.config.ollama.model ?? found[0]);
    return model ? this.#ollama(model, contextTokens) : this.#builtin;
  }

  async #resolveOpenai(model: string, signal: AbortSignal): Promise<LanguageModel> {
    const client = this.#openai;
    if (!client) return new UnavailableLanguageModel(`openai/${model}`, "model-not-found");
    const name = model === ANY_MODEL ? await this.#anyOpenaiModel(signal) : model;
    const host = hostOf(this.#options.config.openai?.baseUrl || OPENAI_BASE_URL);
    return new OpenaiLanguageModel({ providerId: "openai", model: name, client, host });
  }

  async #anyOpenaiModel(signal: AbortSignal): Promise<string> {
    const { model, baseUrl } = this.#options.config.openai ?? {};
    if (model) return model;
    // OpenAI lists a hundred models, in no order that says which one to take.
    if (isOpenaiOwn(baseUrl || OPENAI_BASE_URL)) return OPENAI_MODEL_DEFAULT;
    return (await this.#openaiModels.get(signal))?.[0] ?? OPENAI_MODEL_DEFAULT;
  }

  async #resolveOllama(
    model: string,
    contextTokens: number | undefined,
    signal: AbortSignal,
  ): Promise<LanguageModel> {
    if (model !== ANY_MODEL) return this.#ollama(model, contextTokens);
    const { model: configured } = this.#options.config.ollama;
    if (configured) return this.#ollama(configured, contextTokens);
    const found = await this.#ollamaModels.get(signal);
    const reason = found ? "model-not-found" : "provider-unavailable";
    return found?.[0]
      ? this.#ollama(found[0], contextTokens)
      : new UnavailableLanguageModel(`ollama/${model}`, reason);
  }

  #ollama(model: string, contextTokens = CONTEXT_TOKENS_DEFAULT): LanguageModel {
    const { config, fetch } = this.#options;
    const window = Math.max(contextTokens, this.#ollamaWindows.get(model) ?? 0);
    this.#ollamaWindows.set(model, window);
    return new OllamaLanguageModel({
      providerId: "ollama",
      model,
      server: { host: config.ollama.host, fetch },
      contextTokens: window,
    });
  }
}
