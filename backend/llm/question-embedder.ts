/**
 * The embedding of a question by the deployment's model, for who can do without: soon, or not at all. While the model
 * does not answer it is left alone.
 */
import { CircuitBreaker, type CircuitBreakerOptions } from "./circuit-breaker.ts";
import type { EmbeddingModels } from "./embedding-models.ts";
import { guardedCall } from "./guarded-call.ts";

/** It comes on top of an answer's time whenever nothing is found. */
const TIMEOUT_MS = 300;

/** Undefined when there is none in time. Rejects only with the reason of `signal`. */
export type QuestionEmbedder = (
  text: string,
  signal: AbortSignal,
) => Promise<{ readonly modelId: string; readonly vector: Float32Array } | undefined>;

/** What it works with. */
export interface QuestionEmbedderOptions extends Pick<CircuitBreakerOptions, "now" | "random"> {
  readonly models: Pick<EmbeddingModels, "currentId" | "find">;
  readonly onFailure: (error: unknown) => void;
}

/** Makes one; all callers share its breaker. */
export function createQuestionEmbedder({
  models,
  onFailure,
  ...clock
}: QuestionEmbedderOptions): QuestionEmbedder {
  const breaker = new CircuitBreaker(clock);
  return async (text, signal) => {
    const modelId = models.currentId;
    const model = models.find(modelId);
    if (!model) return undefined;
    const run = (limited: AbortSignal) => model.embed([text], limited);
    const [vector] = (await guardedCall(breaker, signal, TIMEOUT_MS, { run, onFailure })) ?? [];
    return vector && { modelId, vector };
  };
}
