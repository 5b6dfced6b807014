/**
 * The port to the backend as all surfaces use it: messages to peers, and peers' replies, go another way, and tasks that
 * peers answer are found there.
 */
import { create, toJsonString } from "@bufbuild/protobuf";
import type { Directory } from "../../core/directory/directory.ts";
import { type Task, TaskState } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import { type A2AMessage, A2AMessageSchema } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { AgentBackend, BackendCall, TaskPosition } from "../backend/agent-backend.ts";
import { routeMessage, routeToAgent } from "../routing/route-message.ts";
import { mailboxOf } from "./mailbox-rpc.ts";
import { type PeerBackend, unwrap } from "./peer-backend.ts";
import { peerOfTask } from "./peer-task.ts";

/** What it is made of. */
export interface RoutedBackendOptions {
  /** The Worker's bindings. */
  readonly env: object;
  readonly agents: AgentBackend;
  readonly peers: PeerBackend;
  readonly directory: Directory;
}

/** See above. */
export class RoutedBackend implements AgentBackend {
  readonly #options: RoutedBackendOptions;

  constructor(options: RoutedBackendOptions) {
    this.#options = options;
  }

  async processMessage(message: A2AMessage, call: BackendCall): Promise<A2AMessage> {
    const backend = await this.#backendFor(message, call);
    return backend ? backend.processMessage(message, call) : handedOn(message);
  }

  async *streamReply(message: A2AMessage, call: BackendCall): AsyncGenerator<A2AMessage, void, undefined> {
    const backend = await this.#backendFor(message, call);
    if (backend) yield* backend.streamReply(message, call);
    else yield handedOn(message);
  }

  async startReply(message: A2AMessage, call: BackendCall): Promise<A2AMessage> {
    const backend = await this.#backendFor(message, call);
    return backend ? backend.startReply(message, call) : handedOn(message);
  }

  resumeReply(position: TaskPosition, call: BackendCall): AsyncGenerator<A2AMessage, void, undefined> {
    return this.#backendOf(position.taskId).resumeReply(position, call);
  }

  cancelReply(taskId: string, call: BackendCall): Promise<A2AMessage> {
    return this.#backendOf(taskId).cancelReply(taskId, call);
  }

  getTask(taskId: string, call: BackendCall): Promise<Task> {
    return this.#backendOf(taskId).getTask(taskId, call);
  }

  #backendOf(taskId: string): AgentBackend {
    return peerOfTask(taskId) === undefined ? this.#options.agents : this.#options.peers;
  }

  /** Undefined when it was a reply, which is with who asked by now. */
  async #backendFor(message: A2AMessage, call: BackendCall): Promise<AgentBackend | undefined> {
    const { env, agents, peers, directory } = this.#options;
    const { tenantId, subject } = call.principal;
    const route = await routeMessage(directory, message, call.principal, call.signal);
    if (route.target === "reply") {
      const text = toJsonString(A2AMessageSchema, message);
      const reply = { tenantId, peerId: subject, text, subject, ttlMs: 0 };
      const { taken } = unwrap(await mailboxOf(env, tenantId, subject).reply(reply));
      if (taken) return undefined;
    }
    const { target } = await routeToAgent(directory, tenantId, message.receiverId, call.signal);
    return target === "peer" ? peers : agents;
  }
}

/** What a peer gets for its reply: the end of a task of its own, without an answer. */
export function handedOn({ messageId, senderId, receiverId, contextId }: A2AMessage): A2AMessage {
  return create(A2AMessageSchema, {
    senderId: receiverId,
    receiverId: senderId,
    contextId,
    inReplyTo: messageId,
    metadata: { delivery: "delivered" },
    body: { case: "status", value: { state: TaskState.COMPLETED } },
  });
}
