/**
 * What a message brings for its turn beside its content, in the words of agents and models: the conversation so far as
 * its sender tells it, and how the models are to sample. The rules in the proto have been checked before.
 */
import { Role } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { ModelParameters } from "../llm/language-model.ts";
import type { EarlierTurn } from "./agent-runner.ts";

/** The earlier turns that the message gives; undefined when the remembered ones count. */
export function givenHistory({ history }: A2AMessage): readonly EarlierTurn[] | undefined {
  return history?.turns.map(({ role, text }) => ({ role: role === Role.AGENT ? "assistant" : "user", text }));
}

/** The parameters that the message gives; absent ones are undefined. */
export function givenParameters({ parameters }: A2AMessage): ModelParameters {
  if (!parameters) return {};
  const { temperature, topP, outputTokensMax, stop, seed } = parameters;
  return {
    temperature,
    topP,
    outputTokensMax,
    seed: seed === undefined ? undefined : Number(seed),
    stop: stop.length === 0 ? undefined : stop,
  };
}

/** The agent's parameters with those given laid over them; of two limits on the answer, the smaller holds. */
export function withGivenParameters(agent: ModelParameters, given: ModelParameters): ModelParameters {
  const limits = [agent.outputTokensMax, given.outputTokensMax].filter((limit) => limit !== undefined);
  return {
    temperature: given.temperature ?? agent.temperature,
    topP: given.topP ?? agent.topP,
    seed: given.seed ?? agent.seed,
    stop: given.stop ?? agent.stop,
    outputTokensMax: limits.length === 0 ? undefined : Math.min(...limits),
  };
}
