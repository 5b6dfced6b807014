/**
 * Peers behind the same port as the backend's agents: a message goes into the peer's mailbox, its reply comes out of
 * there as the events of a task. What differs is only how long that can take.
 */
import { create, toJsonString } from "@bufbuild/protobuf";
import { agentNotFound } from "../../core/administration/agents.ts";
import type { Directory } from "../../core/directory/directory.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { deadlineExceeded } from "../../core/resilience/deadline.ts";
import { type Task, TaskSchema, TaskState } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import { type A2AMessage, A2AMessageSchema } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { AgentBackend, BackendCall, TaskPosition } from "../backend/agent-backend.ts";
import { findPeer } from "../routing/find-peer.ts";
import { fromRefusal, type Refusal } from "../sessions/opening.ts";
import { type FollowedEvents, type MailboxRpc, mailboxOf } from "./mailbox-rpc.ts";
import { peerOfTask, readPeerEvent } from "./peer-task.ts";

/** Before a caller's time is up it is told where to look for the reply, while it still listens. */
const LAST_WORD_MS = 100;

/** See above. */
export class PeerBackend implements AgentBackend {
  readonly #env: object;
  readonly #directory: Directory;

  constructor(env: object, directory: Directory) {
    this.#env = env;
    this.#directory = directory;
  }

  async processMessage(message: A2AMessage, call: BackendCall): Promise<A2AMessage> {
    let last: A2AMessage | undefined;
    for await (const event of this.streamReply(message, call)) last = event;
    if (last?.body.case === "content") return last;
    if (last?.body.case === "error") throw fromRefusal(last.body.value as Refusal);
    throw new ParleyError("canceled", "the message was taken back");
  }

  async *streamReply(message: A2AMessage, call: BackendCall): AsyncGenerator<A2AMessage, void, undefined> {
    const accepted = await this.#accept(message, call);
    const taskId = readPeerEvent(accepted.events[0] ?? "").taskId;
    yield* accepted.events.map(readPeerEvent);
    if (accepted.ended) return;
    yield* this.resumeReply({ taskId, afterSequence: accepted.events.length }, call);
  }

  async startReply(message: A2AMessage, call: BackendCall): Promise<A2AMessage> {
    const { events } = await this.#accept(message, call);
    return readPeerEvent(events[0] ?? "");
  }

  async *resumeReply(
    { taskId, afterSequence }: TaskPosition,
    call: BackendCall,
  ): AsyncGenerator<A2AMessage, void, undefined> {
    const { subject } = call.principal;
    const mailbox = this.#mailboxOfTask(taskId, call);
    let after = afterSequence;
    while (true) {
      call.signal.throwIfAborted();
      const waitMs = call.deadline.remainingMs() - LAST_WORD_MS;
      const { events, ended } = unwrap(await mailbox.follow({ taskId, subject, after, waitMs }));
      after += events.length;
      yield* events.map(readPeerEvent);
      if (ended) return;
      if (events.length === 0 && call.deadline.remainingMs() <= LAST_WORD_MS) throw stillWaiting(taskId);
    }
  }

  async cancelReply(taskId: string, call: BackendCall): Promise<A2AMessage> {
    const { subject } = call.principal;
    const { events } = unwrap(await this.#mailboxOfTask(taskId, call).cancel({ taskId, subject }));
    return readPeerEvent(events[0] ?? "");
  }

  async getTask(taskId: string, call: BackendCall): Promise<Task> {
    const { subject } = call.principal;
    const { events, ended } = unwrap(
      await this.#mailboxOfTask(taskId, call).follow({ taskId, subject, after: 0, waitMs: 0 }),
    );
    const last = readPeerEvent(events.at(-1) ?? "");
    return create(TaskSchema, {
      id: taskId,
      contextId: last.contextId,
      status: { state: stateOf(last, ended) },
      metadata: { ...last.metadata, sequence: events.length },
      ...(last.body.case === "content" && {
        artifacts: [{ artifactId: last.messageId, parts: last.body.value.parts }],
      }),
    });
  }

  async #accept(message: A2AMessage, call: BackendCall): Promise<FollowedEvents> {
    const { tenantId, subject } = call.principal;
    const peerId = message.receiverId;
    const peer = await findPeer(this.#directory, tenantId, peerId, call.signal);
    if (peer?.config.kind !== "peer") throw agentNotFound(peerId);
    const ttlMs = peer.config.messageTtlSeconds * 1_000;
    const text = toJsonString(A2AMessageSchema, message);
    const mailbox = mailboxOf(this.#env, tenantId, peerId);
    return unwrap(await mailbox.accept({ tenantId, peerId, text, subject, ttlMs }));
  }

  #mailboxOfTask(taskId: string, { principal }: BackendCall): MailboxRpc {
    const peerId = peerOfTask(taskId);
    if (peerId !== undefined) return mailboxOf(this.#env, principal.tenantId, peerId);
    throw new ParleyError("not_found", "there is no such task");
  }
}

/** The outcome, or the refusal thrown. */
export function unwrap<Outcome extends object>(outcome: Outcome | { refusal: Refusal }): Outcome {
  if ("refusal" in outcome) throw fromRefusal(outcome.refusal);
  return outcome;
}

function stateOf({ body }: A2AMessage, ended: boolean): TaskState {
  if (!ended) return TaskState.WORKING;
  if (body.case === "content") return TaskState.COMPLETED;
  return body.case === "error" ? TaskState.FAILED : TaskState.CANCELED;
}

/** The caller's time is up, not the message's. */
function stillWaiting(taskId: string): ParleyError {
  const { code, message } = deadlineExceeded();
  return new ParleyError(
    code,
    `${message}; the message waits for the peer, and its reply can be had from GET /api/v1/a2a/tasks/{taskId}`,
    { details: { taskId } },
  );
}
