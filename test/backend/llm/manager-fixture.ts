/** A model manager over scripted models and a fake clock: asks a chain and tells what came of it. */
import { vi } from "vitest";
import type {
  AnswerEvent,
  AnswerOptions,
  ModelAttempt,
  ModelLink,
} from "../../../backend/llm/answer-event.ts";
import type { LanguageModel, ModelFailureReason } from "../../../backend/llm/language-model.ts";
import { ModelManager } from "../../../backend/llm/model-manager.ts";
import { ProviderHealth } from "../../../backend/llm/provider-health.ts";
import type { ParleyError } from "../../../core/errors/parley-error.ts";
import { Deadline } from "../../../core/resilience/deadline.ts";
import { sleep } from "../../../core/resilience/full-jitter.ts";
import { modelRequest, neverAborted } from "../../support/model-events.ts";
import { ScriptedModel, says } from "../../support/scripted-model.ts";

/** The clock of these tests. */
export const now = () => performance.now();
/** What is said when no model answers. */
export const PRESET = "Please try again later.";

/** A link with limits that leave room. */
export function link(model: LanguageModel, fields: Partial<ModelLink> = {}): ModelLink {
  const limits = { firstTokenTimeoutMs: 1_000, idleTimeoutMs: 1_000, totalTimeoutMs: 10_000 };
  return { model, attemptsMax: 2, ...limits, parameters: {}, ...fields };
}

interface Told {
  attempt: ModelAttempt;
  failure: ParleyError | undefined;
}

/** Asks a chain while time goes by. */
export function ask(
  chain: readonly (LanguageModel | ModelLink)[],
  fields: Partial<AnswerOptions> & { health?: ProviderHealth } = {},
  random = () => 0.5,
) {
  const told: Told[] = [];
  const waits: number[] = [];
  const manager = new ModelManager({
    now,
    random,
    sleep: (delayMs, signal) => {
      waits.push(delayMs);
      return sleep(delayMs, signal);
    },
    health: fields.health ?? new ProviderHealth({ now, random }),
    onAttempt: (attempt, failure) => told.push({ attempt, failure }),
  });
  const events: AnswerEvent[] = [];
  const run = async () => {
    const stream = manager.answer({
      chain: chain.map((model) => ("model" in model ? model : link(model))),
      request: modelRequest("Why?"),
      presetReply: PRESET,
      deadline: Deadline.after(60_000, now),
      signal: neverAborted(),
      ...fields,
    });
    for await (const event of stream) events.push(event);
  };
  const ended = run().then(
    () => undefined,
    (error: unknown) => error,
  );
  return { events, told, waits, ended };
}

/** What came of it in the end. */
export async function answered(...args: Parameters<typeof ask>) {
  const { events, told, waits, ended } = ask(...args);
  await vi.advanceTimersByTimeAsync(200_000);
  const error = await ended;
  if (error) throw error;
  const finish = events.at(-1);
  if (finish?.type !== "finish") throw new Error("no finish");
  const outcomes = finish.answer.attempts.map(({ model, outcome }) => `${model} ${outcome}`);
  return { events, told, waits, answer: finish.answer, outcomes };
}

/** A model that always fails in one way. */
export const failing = (id: string, reason: ModelFailureReason) => new ScriptedModel(id, [{ fail: reason }]);
/** A model that answers. */
export const healthy = (id = "b/healthy") => new ScriptedModel(id, says("All is well."));

/** Asks, and lets no more time pass than the answer takes. */
export async function askedPromptly(...args: Parameters<typeof ask>) {
  const { events, told, waits, ended } = ask(...args);
  let error: unknown = "waits";
  ended.then((thrown) => {
    error = thrown;
  });
  while (error === "waits") await vi.advanceTimersByTimeAsync(1);
  const outcomes = told.map(({ attempt }) => `${attempt.model} ${attempt.outcome}`);
  const finish = events.at(-1);
  return { outcomes, waits, told, error, answer: finish?.type === "finish" ? finish.answer : undefined };
}
