/**
 * What waits for a peer, and what its senders are told: takes messages, hands them to the peer's session in order and
 * again after every new connection until they are acknowledged, takes replies, and ends what nobody came for. All
 * changes are synchronous; only talking to sessions waits, and is done again when it fails.
 */
import { fromJsonString, type JsonObject, toJsonString } from "@bufbuild/protobuf";
import { hashSecret } from "../../core/auth/api-key.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import { type A2AMessage, A2AMessageSchema } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { newSessionId } from "../sessions/session-token.ts";
import {
  BYTES_WAITING_MAX,
  ENDED_KEPT_MAX,
  ENDED_KEPT_MS,
  FORGET_EVERY,
  HOPS_MAX,
  MESSAGES_WAITING_MAX,
  OPEN_MAX,
  STORED_BYTES_MAX,
} from "./mailbox-limits.ts";
import type { FollowedEvents, MailboxMessage, TaskOfCaller } from "./mailbox-rpc.ts";
import type { MailboxEntry, MailboxStore } from "./mailbox-store.ts";
import { type Delivery, peerEvent, peerTaskId } from "./peer-task.ts";

/** Entries looked at in one step. */
const STEP_ENTRIES = 100;

/** What a mailbox touches. */
export interface MailboxOptions {
  readonly store: MailboxStore;
  readonly now: Clock;
  /** There are new events of a task. */
  onEvent(taskId: string): void;
}

/** See above. */
export class Mailbox {
  readonly #store: MailboxStore;
  readonly #now: Clock;
  readonly #onEvent: (taskId: string) => void;
  #endedSinceForget = 0;

  constructor({ store, now, onEvent }: MailboxOptions) {
    this.#store = store;
    this.#now = now;
    this.#onEvent = onEvent;
  }

  /** @throws ParleyError `conflict`, `resource_exhausted` (reason `mailbox-full`), `failed_precondition` (`loop`) */
  async accept(incoming: MailboxMessage): Promise<FollowedEvents> {
    const { tenantId, peerId, text, subject, sessionId = "", ttlMs } = incoming;
    const fingerprint = await hashSecret(text);
    const message = fromJsonString(A2AMessageSchema, text);
    const before = this.#store.findMessage(message.senderId, message.messageId);
    if (before) return this.#again(before, fingerprint, subject);
    const hops = this.#hopsOf(message);
    this.#requireRoom(text);
    if (this.#store.openCount() >= OPEN_MAX) this.#giveUpOldest();
    if (!this.#store.state()) {
      this.#store.saveState({ tenantId, peerId, sessionIds: [], attachment: 0 });
    }
    message.taskId = peerTaskId(peerId, newSessionId());
    message.contextId ||= crypto.randomUUID();
    message.metadata = { ...message.metadata, hops };
    const stored = toJsonString(A2AMessageSchema, message);
    requireFits(stored);
    const entry = this.#store.add({
      taskId: message.taskId,
      messageId: message.messageId,
      senderId: message.senderId,
      contextId: message.contextId,
      text: stored,
      expiresAtMs: this.#now() + ttlMs,
      ...{ subject, fingerprint, hops, sessionId },
    });
    this.#addEvent(entry, "accepted");
    return followed(this.#reread(entry), 0);
  }

  /** @throws ParleyError `conflict` when it has been answered otherwise; `failed_precondition` (`loop`) */
  reply(incoming: MailboxMessage): boolean {
    const reply = fromJsonString(A2AMessageSchema, incoming.text);
    const entry = this.#store.findMessage(reply.receiverId, reply.inReplyTo);
    if (!entry) return false;
    const answered = this.#store.findReplied(reply.messageId);
    if (answered?.taskId === entry.taskId) return true;
    if (entry.ended) {
      throw new ParleyError(
        "conflict",
        "the message that this replies to has been answered, or has expired",
        {
          reason: "already-ended",
        },
      );
    }
    requireFewHops(entry.hops + 1);
    this.#addEvent(entry, "answered", reply);
    return true;
  }

  /** The events past a position. @throws ParleyError `not_found` for tasks that are not the caller's */
  events({ taskId, subject }: TaskOfCaller, after: number): FollowedEvents {
    const entry = this.#store.findTask(taskId);
    if (entry?.subject !== subject) throw taskNotFound(taskId);
    if (after > entry.events.length) {
      throw new ParleyError(
        "invalid_argument",
        `the position ${after} is in the future: the newest event of the task is ${entry.events.length}`,
      );
    }
    return followed(entry, after);
  }

  /** Ends a task of the caller's, unless it has ended. @throws ParleyError `not_found` */
  cancel({ taskId, subject }: TaskOfCaller): FollowedEvents {
    const entry = this.#store.findTask(taskId);
    if (entry?.subject !== subject) throw taskNotFound(taskId);
    if (!entry.ended) this.#addEvent(entry, "canceled");
    const { events } = this.#reread(entry);
    return { events: events.slice(-1), ended: true };
  }

  /** The peer has a message. */
  acknowledge(sequence: number): void {
    const entry = this.#store.findSequence(sequence);
    if (!entry || entry.text === "") return;
    this.#store.acknowledged(sequence);
    if (!entry.ended) this.#addEvent(entry, "delivered");
  }

  /** Ends what nobody came for, or answered, in time. */
  expire(): void {
    for (const entry of this.#store.expired(this.#now(), STEP_ENTRIES)) {
      this.#addEvent(entry, entry.text === "" ? "unanswered" : "expired");
    }
  }

  /** Forgets what has ended long ago, and more than is kept. */
  forget(): void {
    this.#endedSinceForget = 0;
    this.#store.forget(this.#now() - ENDED_KEPT_MS, ENDED_KEPT_MAX);
  }

  /** A peer that takes messages and answers none would have them kept until their time is up, however many. */
  #giveUpOldest(): void {
    const oldest = this.#store.oldestDelivered();
    if (oldest) this.#addEvent(oldest, "unanswered");
  }

  #again(before: MailboxEntry, fingerprint: string, subject: string): FollowedEvents {
    if (before.fingerprint === fingerprint && before.subject === subject) return followed(before, 0);
    throw new ParleyError("conflict", "another message had this `messageId`; choose a new one", {
      reason: "message-id-used",
    });
  }

  #addEvent(entry: MailboxEntry, delivery: Delivery, reply?: A2AMessage): void {
    const nowMs = this.#now();
    const sequence = entry.events.length + 1;
    const event = peerEvent(entry, { sequence, nowMs, delivery }, reply);
    if (reply) requireFits(JSON.stringify([...entry.events, event]));
    this.#store.addEvent(entry, event);
    if (delivery !== "accepted" && delivery !== "delivered") {
      this.#store.end(entry.sequence, nowMs, reply?.messageId);
      this.#endedSinceForget += 1;
      if (this.#endedSinceForget >= FORGET_EVERY) this.forget();
    }
    this.#onEvent(entry.taskId);
  }

  #reread(entry: MailboxEntry): MailboxEntry {
    return this.#store.findTask(entry.taskId) ?? entry;
  }

  /** Answers to answers are counted by the gateway; who passes a message on by hand passes `metadata.hops` on. */
  #hopsOf({ metadata, inReplyTo }: A2AMessage): number {
    const given = hopsIn(metadata);
    const answered = inReplyTo === "" ? undefined : this.#store.findReplied(inReplyTo);
    const hops = Math.max(given, answered ? answered.hops + 2 : 0);
    requireFewHops(hops);
    return hops;
  }

  #requireRoom(text: string): void {
    const { count, bytes } = this.#store.waitingTotal();
    if (count < MESSAGES_WAITING_MAX && bytes + text.length <= BYTES_WAITING_MAX) return;
    throw new ParleyError(
      "resource_exhausted",
      "the peer's mailbox is full; send again when it has come for some",
      {
        reason: "mailbox-full",
        retryable: true,
        retryAfterMs: 60_000,
      },
    );
  }
}

/** How often a message has been passed on or answered, as it says itself. */
export function hopsIn(metadata: JsonObject | undefined): number {
  const hops = metadata?.["hops"];
  return typeof hops === "number" && Number.isSafeInteger(hops) && hops > 0 ? hops : 0;
}

/** @throws ParleyError `failed_precondition`, reason `loop` */
export function requireFewHops(hops: number): void {
  if (hops <= HOPS_MAX) return;
  throw new ParleyError(
    "failed_precondition",
    `this answers an answer for the ${hops}th time, and ${HOPS_MAX} are allowed: agents seem to answer each other without end. To go on, send a message without \`inReplyTo\` and \`metadata.hops\``,
    { reason: "loop" },
  );
}

/** @throws ParleyError `invalid_argument`, reason `message-too-large` */
function requireFits(stored: string): void {
  const bytes = new TextEncoder().encode(stored).length;
  if (bytes <= STORED_BYTES_MAX) return;
  throw new ParleyError(
    "invalid_argument",
    `the message takes ${bytes} bytes to keep, and a mailbox keeps at most ${STORED_BYTES_MAX} of one; split it`,
    { reason: "message-too-large", details: { bytesMax: STORED_BYTES_MAX } },
  );
}

function followed({ events, ended }: MailboxEntry, after: number): FollowedEvents {
  return { events: events.slice(after), ended };
}

function taskNotFound(taskId: string): ParleyError {
  return new ParleyError(
    "not_found",
    `there is no task "${taskId}", or it ended too long ago to be followed`,
  );
}
