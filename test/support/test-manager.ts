/** A model manager for tests of what stands above it: it does not wait between tries. */
import { ModelManager } from "../../backend/llm/model-manager.ts";

/** Makes it. */
export function createTestManager(): ModelManager {
  return new ModelManager({ now: () => performance.now(), random: () => 0, sleep: async () => {} });
}
