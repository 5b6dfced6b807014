/** A language model for tests of what stands above models: it does what its script says, call by call. */
import type {
  LanguageModel,
  ModelEvent,
  ModelFailureReason,
  ModelRequest,
} from "../../backend/llm/language-model.ts";
import { modelFailure } from "../../backend/llm/model-failure.ts";
import { sleep } from "../../core/resilience/full-jitter.ts";

/** A step of a call: an event, a failure, a wait, or silence until the signal aborts. */
export type Step =
  | ModelEvent
  | { readonly fail: ModelFailureReason; readonly retryAfterMs?: number }
  | { readonly waitMs: number }
  | { readonly silence: true };

/** A model whose n-th call follows the n-th script, and whose later calls follow the last one. */
export class ScriptedModel implements LanguageModel {
  readonly id: string;
  /** Set it to have the model's health kept. */
  host: string | undefined;
  readonly requests: ModelRequest[] = [];
  readonly signals: AbortSignal[] = [];
  readonly #scripts: readonly (readonly Step[])[];

  constructor(id: string, ...scripts: readonly (readonly Step[])[]) {
    this.id = id;
    this.#scripts = scripts;
  }

  async *stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelEvent> {
    const script = this.#scripts[Math.min(this.requests.length, this.#scripts.length - 1)] ?? [];
    this.requests.push(request);
    this.signals.push(signal);
    for (const step of script) {
      if ("fail" in step) throw modelFailure(step.fail, { retryAfterMs: step.retryAfterMs });
      if ("waitMs" in step) await sleep(step.waitMs, signal);
      else if ("silence" in step) await sleep(2 ** 31 - 1, signal);
      else yield step;
    }
  }
}

/** The same model at a host, so that its health is kept. */
export function at(host: string, model: ScriptedModel): ScriptedModel {
  model.host = host;
  return model;
}

/** The script of a whole answer, word by word. */
export function says(text: string): Step[] {
  const words: Step[] = (text.match(/\S+\s*/g) ?? []).map((word) => ({ type: "text-delta", text: word }));
  return [
    ...words,
    { type: "usage", usage: { inputTokens: 3, outputTokens: 5 } },
    { type: "finish", reason: "stop" },
  ];
}

/** The beginning of an answer that does not end well. */
export function begins(text: string): Step {
  return { type: "text-delta", text };
}
