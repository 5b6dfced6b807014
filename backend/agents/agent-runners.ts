/** Finds who answers for an agent, by the kind of its configuration. */
import type { Agent } from "../../core/directory/agent.ts";
import type { AgentRunner } from "./agent-runner.ts";
import { createEchoAgent } from "./echo-agent.ts";
import { createModelAgent, type ModelAgentDependencies } from "./model-agent.ts";

/** Gives the runner for an agent. */
export type AgentRunners = (agent: Agent) => AgentRunner;

/** Runners for every kind of agent that the backend answers for. */
export function createAgentRunners(dependencies: ModelAgentDependencies): AgentRunners {
  const echo = createEchoAgent();
  return ({ config }) => {
    switch (config.kind) {
      case "echo":
        return echo;
      case "model":
        return createModelAgent(config, dependencies);
    }
  };
}
