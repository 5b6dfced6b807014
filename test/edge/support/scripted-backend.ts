/** A real Connect server on a loopback port, whose behaviour a test scripts and whose calls it can look at. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { textContent } from "../../../core/messages/envelope.ts";
import { Health, HealthCheckResponse_ServingStatus } from "../../../proto/gen/grpc/health/v1/health_pb.js";
import {
  type A2AMessage,
  A2AMessageSchema,
  AgentService,
} from "../../../proto/gen/parley/v1/agent_service_pb.js";

/** One call that arrived. */
export interface RecordedCall {
  method: "processMessage" | "streamReply";
  message: A2AMessage;
  headers: Headers;
  timeoutMs: number | undefined;
  signal: AbortSignal;
}

/** What the server does; tests replace what they need. */
export interface Script {
  processMessage(message: A2AMessage, call: RecordedCall): Promise<A2AMessage> | A2AMessage;
  streamReply(message: A2AMessage, call: RecordedCall): AsyncIterable<A2AMessage>;
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

/** Starts a server that echoes, on a free port. */
export async function startScriptedBackend(): Promise<ScriptedBackend> {
  const script: Script = {
    processMessage: (message) => replyTo(message, "hello back"),
    streamReply: (message) => streamOf(message, ["hel", "lo"]),
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
