/** A real Connect server on a loopback port, whose behaviour a test scripts and whose calls it can look at. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { textContent } from "../../../core/messages/envelope.ts";
import { Health, HealthCheckResponse_ServingStatus } from "../../../proto/gen/grpc/health/v1/health_pb.js";
import { type Task, TaskSchema, TaskState, TaskStatusSchema } from "../../../proto/gen/lf/a2a/v1/a2a_pb.js";
import {
  type A2AMessage,
  A2AMessageSchema,
  AgentService,
  type ResumeReplyRequest,
} from "../../../proto/gen/parley/v1/agent_service_pb.js";

/** One call that arrived. */
export interface RecordedCall {
  method: keyof Omit<Script, "serving">;
  /** Of a call about a task: a message that names only the task. */
  message: A2AMessage;
  /** Of resumeReply. */
  afterSequence?: number;
  headers: Headers;
  timeoutMs: number | undefined;
  signal: AbortSignal;
}

/** What the server does; tests replace what they need. */
export interface Script {
  processMessage(message: A2AMessage, call: RecordedCall): Promise<A2AMessage> | A2AMessage;
  streamReply(message: A2AMessage, call: RecordedCall): AsyncIterable<A2AMessage>;
  startReply(message: A2AMessage, call: RecordedCall): Promise<A2AMessage> | A2AMessage;
  resumeReply(position: ResumeReplyRequest, call: RecordedCall): AsyncIterable<A2AMessage>;
  cancelReply(taskId: string, call: RecordedCall): Promise<A2AMessage> | A2AMessage;
  getTask(taskId: string, call: RecordedCall): Promise<Task> | Task;
  serving: boolean;
}

/** A running server. */
export interface ScriptedBackend {
  url: string;
  host: string;
  script: Script;
  calls: RecordedCall[];
  healthChecks: number;
  /** Cuts all connections without a word. */
  cut(): void;
  stop(): Promise<void>;
}

/** What the scripted tasks answer where a call names only a task. */
const QUESTION = create(A2AMessageSchema, { messageId: "m-1", receiverId: "assistant", senderId: "alice" });

function messageOf(taskId: string): A2AMessage {
  return create(A2AMessageSchema, { taskId });
}

/** Starts a server that echoes, on a free port. */
export async function startScriptedBackend(): Promise<ScriptedBackend> {
  const script: Script = {
    processMessage: (message) => replyTo(message, "hello back"),
    streamReply: (message) => streamOf(message, ["hel", "lo"]),
    startReply: (message) =>
      answerTo(message, { sequence: 1, body: { case: "accepted", value: {} as never } }),
    resumeReply: restOfReply,
    cancelReply: () =>
      answerTo(QUESTION, {
        sequence: 2,
        body: { case: "status", value: create(TaskStatusSchema, { state: TaskState.CANCELED }) },
      }),
    getTask: (taskId) =>
      create(TaskSchema, { id: taskId, status: { state: TaskState.WORKING }, metadata: { sequence: 4 } }),
    serving: true,
  };
  const calls: RecordedCall[] = [];
  let healthChecks = 0;
  const record = (
    method: RecordedCall["method"],
    message: A2AMessage,
    context: HandlerContext,
  ): RecordedCall => {
    const { requestHeader: headers, signal } = context;
    const call = { method, message, headers, timeoutMs: context.timeoutMs(), signal };
    calls.push(call);
    return call;
  };
  const routes = (router: ConnectRouter) =>
    router
      .service(AgentService, {
        processMessage: (message, context) =>
          script.processMessage(message, record("processMessage", message, context)),
        streamReply: (message, context) =>
          script.streamReply(message, record("streamReply", message, context)),
        startReply: (message, context) => script.startReply(message, record("startReply", message, context)),
        resumeReply(position, context) {
          const call = record("resumeReply", messageOf(position.taskId), context);
          return script.resumeReply(position, Object.assign(call, { afterSequence: position.afterSequence }));
        },
        cancelReply: ({ taskId }, context) =>
          script.cancelReply(taskId, record("cancelReply", messageOf(taskId), context)),
        getTask: ({ taskId }, context) =>
          script.getTask(taskId, record("getTask", messageOf(taskId), context)),
      })
      .service(Health, {
        check: () => {
          healthChecks += 1;
          const { SERVING, NOT_SERVING } = HealthCheckResponse_ServingStatus;
          return { status: script.serving ? SERVING : NOT_SERVING };
        },
      });
  const server = createServer(connectNodeAdapter({ routes }));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: `http://${host}`,
    host,
    script,
    calls,
    get healthChecks() {
      return healthChecks;
    },
    cut: () => server.closeAllConnections(),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A URL on which nobody listens. */
export async function unusedUrl(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

/** The event or reply that answers a message. */
export function answerTo(message: A2AMessage, fields: Partial<A2AMessage>): A2AMessage {
  return create(A2AMessageSchema, {
    messageId: `re-${message.messageId}`,
    senderId: message.receiverId,
    receiverId: message.senderId,
    contextId: message.contextId || "context-1",
    taskId: "task-1",
    inReplyTo: message.messageId,
    ...fields,
  } as A2AMessage);
}

/** A whole reply. */
export function replyTo(message: A2AMessage, text: string): A2AMessage {
  return answerTo(message, {
    metadata: { model: "openai/small" },
    body: { case: "content", value: textContent(text) },
  });
}

/** `accepted`, a delta each, `content`. */
export async function* streamOf(message: A2AMessage, deltas: string[]): AsyncGenerator<A2AMessage> {
  let sequence = 1;
  yield answerTo(message, { sequence: sequence++, body: { case: "accepted", value: {} as never } });
  for (const delta of deltas) {
    yield answerTo(message, { sequence: sequence++, body: { case: "delta", value: delta } });
  }
  yield { ...replyTo(message, deltas.join("")), sequence };
}

/** The rest of the reply that {@link streamOf} gives by default. */
export async function* restOfReply({ afterSequence }: ResumeReplyRequest): AsyncGenerator<A2AMessage> {
  for await (const event of streamOf(QUESTION, ["hel", "lo"])) {
    if (event.sequence > afterSequence) yield event;
  }
}

/** An error without the details that our own backend sends, as some other server would. */
export function foreignError(code: Code = Code.Unavailable): ConnectError {
  return new ConnectError("upstream 10.1.2.3 said no", code);
}

/** Resolves when the signal aborts. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
