/** A task engine with a scripted agent, for tests of what the engine itself promises. */
import { create } from "@bufbuild/protobuf";
import { pino } from "pino";
import type { AgentRunner, AnswerRecord } from "../../../backend/agents/agent-runner.ts";
import type { ConversationMemory } from "../../../backend/stores/conversation-memory.ts";
import { createRunTurn } from "../../../backend/tasks/run-turn.ts";
import type { Task } from "../../../backend/tasks/task.ts";
import { TaskEngine, type TaskEngineOptions } from "../../../backend/tasks/task-engine.ts";
import type { TurnRecorder } from "../../../backend/tasks/turn-recorder.ts";
import type { Principal } from "../../../core/auth/principal.ts";
import { type Agent, agentConfigSchema } from "../../../core/directory/agent.ts";
import type { Directory } from "../../../core/directory/directory.ts";
import type { LogState } from "../../../core/log/message-log.ts";
import { textContent } from "../../../core/messages/envelope.ts";
import { type A2AMessage, A2AMessageSchema } from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { createConversationMemory } from "../../support/conversation-memory.ts";

/** A caller of tenant `acme`. */
export const ann: Principal = { tenantId: "acme", subject: "ann", scopes: ["messages:send"], keyId: "k1" };
/** A caller of another tenant. */
export const eve: Principal = { ...ann, tenantId: "umbrella", subject: "ann", keyId: "k2" };

const agent: Agent = {
  tenantId: "acme",
  id: "scripted",
  name: "Scripted",
  description: "",
  version: 1,
  config: agentConfigSchema.parse({ kind: "echo" }),
  updatedAtMs: 0,
};

/** Knows one agent, of tenant `acme`. */
export const directory: Directory = {
  findApiKey: async () => undefined,
  findTenant: async (id) => (id === agent.tenantId ? { id, name: id, limits: {} } : undefined),
  findAgent: async (tenantId, agentId) =>
    tenantId === agent.tenantId && agentId === agent.id ? agent : undefined,
  listAgents: async (tenantId) => (tenantId === agent.tenantId ? [agent] : []),
};

/** What was recorded, in order. */
export interface Recorded {
  kind: "question" | "answer" | "failure";
  taskId: string;
  detail?: AnswerRecord | string;
}

/** A recorder that keeps what it is given; `hang` makes answers never durable. */
export function createRecorder(
  options: { hang?: boolean; state?: LogState } = {},
): TurnRecorder & { rows: Recorded[] } {
  const rows: Recorded[] = [];
  return {
    rows,
    state: () => options.state ?? "ready",
    async question(task) {
      rows.push({ kind: "question", taskId: task.id });
    },
    async answer(task, _reply, record) {
      rows.push({ kind: "answer", taskId: task.id, detail: record });
      if (options.hang) await new Promise(() => {});
    },
    async failure(task, error) {
      rows.push({ kind: "failure", taskId: task.id, detail: error.code });
    },
  };
}

/** An engine whose one agent answers with `runner`. */
export function createEngine(
  runner: AgentRunner,
  overrides: Partial<TaskEngineOptions> & { recorder?: TurnRecorder; memory?: ConversationMemory } = {},
): TaskEngine {
  const { recorder = createRecorder(), memory = createConversationMemory(), ...options } = overrides;
  const monotonicNow = () => performance.now();
  const run = createRunTurn({
    runners: () => runner,
    memory,
    recorder,
    logger: pino({ level: "silent" }),
    now: monotonicNow,
  });
  return new TaskEngine({
    directory,
    run,
    recordQuestion: (task) => recorder.question(task),
    logger: pino({ level: "silent" }),
    turnTimeoutMs: 5_000,
    tasksInFlightMax: 100,
    canRecord: () => true,
    now: Date.now,
    monotonicNow,
    ...options,
  });
}

/** A message to the scripted agent. */
export function message(text: string, fields: Partial<A2AMessage> = {}): A2AMessage {
  const body = { case: "content" as const, value: textContent(text) };
  return create(A2AMessageSchema, { receiverId: "scripted", body, ...(fields as object) });
}

/** A request of Ann's. */
export function request(text: string, fields: Partial<A2AMessage> = {}, principal = ann) {
  return { message: message(text, fields), principal, requestId: "request-1", budgetMs: undefined };
}

/** All events of a task. */
export async function eventsOf(task: Task): Promise<A2AMessage[]> {
  const events: A2AMessage[] = [];
  for await (const event of task.events.follow(0, new AbortController().signal)) events.push(event);
  return events;
}
