/** Finds who answers for an agent, by the kind of its configuration. */
import type { Agent } from "../../core/directory/agent.ts";
import type { AgentRunner } from "./agent-runner.ts";
import { type AnswerFlights, type CachedAgentDependencies, createCachedAgent } from "./cached-agent.ts";
import { createEchoAgent } from "./echo-agent.ts";
import { createModelAgent, type ModelAgentDependencies } from "./model-agent.ts";

/** Gives the runner for an agent. */
export type AgentRunners = (agent: Agent) => AgentRunner;

/** What runners work with. */
export type AgentDependencies = ModelAgentDependencies &
  Omit<CachedAgentDependencies, "flights" | "registry"> & {
    /** Answers for every agent that connects by itself. */
    readonly peers: AgentRunner;
  };

/** Runners for every kind of agent that the backend answers for. */
export function createAgentRunners(dependencies: AgentDependencies): AgentRunners {
  const echo = createEchoAgent();
  const flights: AnswerFlights = new Map();
  return ({ config }) => {
    switch (config.kind) {
      case "echo":
        return echo;
      case "peer":
        return dependencies.peers;
      case "model":
        return config.cache
          ? createCachedAgent(createModelAgent(config, dependencies), config, { ...dependencies, flights })
          : createModelAgent(config, dependencies);
    }
  };
}
