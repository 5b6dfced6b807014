/** What an agent says when nobody can answer for it. */
import type { Agent } from "../../core/directory/agent.ts";
import { type ParleyError, toParleyError } from "../../core/errors/parley-error.ts";

/** Asked of callers when a failure names no time itself. */
const RETRY_AFTER_MS = 1_000;

/**
 * The failure as the caller gets it: `unavailable` always names a time to retry, and brings the agent's preset
 * reply in `details.presetReply` when it has one; others stay as they are.
 */
export function withPresetReply(failure: unknown, agent: Agent): ParleyError {
  const error = toParleyError(failure);
  if (error.code !== "unavailable") return error;
  const preset = agent.config.kind === "model" ? { presetReply: agent.config.presetReply } : undefined;
  return error.with({
    retryable: true,
    retryAfterMs: error.retryAfterMs ?? RETRY_AFTER_MS,
    ...(preset && { details: { ...error.details, ...preset } }),
  });
}
