/** A model manager for tests of what stands above it: it does not wait between tries, and knows of no failures. */
import type { ModelAttempt } from "../../backend/llm/answer-event.ts";
import { ModelManager } from "../../backend/llm/model-manager.ts";
import { ProviderHealth } from "../../backend/llm/provider-health.ts";

/** Makes it. */
export function createTestManager({
  onAttempt,
}: {
  onAttempt?: (attempt: ModelAttempt) => void;
} = {}): ModelManager {
  const clock = { now: () => performance.now(), random: () => 0 };
  return new ModelManager({
    ...{ ...clock, sleep: async () => {}, health: new ProviderHealth(clock) },
    ...(onAttempt && { onAttempt }),
  });
}
