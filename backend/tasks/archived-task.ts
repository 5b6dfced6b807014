/**
 * Tasks as the durable log keeps them: what is written beside a question and a reply so that another process can run
 * the task or tell of its end, and how both are read again.
 */
import { create, fromBinary, fromJson, type JsonObject, toBinary, toJson } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { JsonValue, ParleyError } from "../../core/errors/parley-error.ts";
import { textOf } from "../../core/messages/envelope.ts";
import { errorMessageBody } from "../../core/messages/error-body.ts";
import { TaskState } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import {
  type A2AMessage,
  A2AMessageSchema,
  ContentSchema,
  ErrorSchema,
} from "../../proto/gen/parley/v1/agent_service_pb.js";
import { eventEnvelope } from "./event-envelope.ts";
import type { TaskRecord } from "./task-ledger.ts";

/**
 * The longest history and parameters that a question's row keeps, characters of base64. A stateless caller sends its
 * whole conversation with every message; a longer one than this is not kept, and its task fails after a crash.
 */
const EXTRAS_CHARACTERS_MAX = 64 * 1024;

/** Stands beside a question. */
interface QuestionRecovery {
  owner: string;
  backendId: string;
  payloadHash: string;
  /** Base64 of what the message has beside ids, content and metadata; null when that is too long to be kept. */
  extras?: string | null;
}

/** Stands beside a reply, or what is there in its place. */
interface ReplyRecovery {
  sequence: number;
  /** ProtoJSON of the error, unless the task was canceled. */
  error?: JsonObject;
}

/** A question's row. */
export interface QuestionRow {
  readonly tenantId: string;
  readonly messageId: string;
  readonly taskId: string;
  readonly contextId: string;
  readonly senderId: string;
  readonly receiverId: string;
  readonly content: JsonValue;
  readonly metadata: JsonObject | null;
  readonly requestId: string | null;
  readonly keyId: string | null;
  readonly agentVersion: number | null;
  readonly createdAtMs: number;
  readonly recovery: JsonValue;
}

/** The row of a reply or a failure. */
export interface ReplyRow {
  readonly content: JsonValue;
  readonly metadata: JsonObject | null;
  readonly errorCode: string | null;
  readonly createdAtMs: number;
  readonly recovery: JsonValue;
}

/** What is written beside a question. */
export function questionRecovery(record: TaskRecord, backendId: string): { [key: string]: JsonValue } {
  const { owner, payloadHash } = record;
  const extras = extrasOf(record.message);
  return { owner, backendId, payloadHash, ...(extras === "" ? {} : { extras }) };
}

/** What is written beside a reply, or a failure. */
export function replyRecovery(sequence: number, error?: ParleyError): { [key: string]: JsonValue } {
  if (!error || error.code === "canceled") return { sequence };
  const { value } = errorMessageBody(error, "");
  return { sequence, error: toJson(ErrorSchema, value) as JsonObject as { [key: string]: JsonValue } };
}

/** The record of a question's row; undefined when the row does not have what it takes. */
export function recordOfRow(row: QuestionRow): TaskRecord | undefined {
  const { owner, payloadHash, extras = "" } = row.recovery as unknown as QuestionRecovery;
  if (extras === null) return undefined;
  const { messageId, senderId, receiverId, contextId, metadata } = row;
  const message = Object.assign(fromBinary(A2AMessageSchema, Buffer.from(extras, "base64")), {
    ...{ messageId, senderId, receiverId, contextId },
    createdAt: timestampFromMs(row.createdAtMs),
    body: { case: "content", value: fromJson(ContentSchema, row.content) },
    ...(metadata ? { metadata } : {}),
  });
  return {
    id: row.taskId,
    tenantId: row.tenantId,
    owner,
    message,
    requestId: row.requestId ?? "",
    keyId: row.keyId ?? "",
    agentVersion: row.agentVersion ?? 1,
    payloadHash,
  };
}

/** The last event of a task that has ended. */
export function lastEventOfRow({ id, message, requestId }: TaskRecord, row: ReplyRow): A2AMessage {
  const { sequence, error } = row.recovery as unknown as ReplyRecovery;
  const createdAt = timestampFromMs(row.createdAtMs);
  const event = create(A2AMessageSchema, { ...eventEnvelope(id, message), createdAt, sequence });
  if (row.errorCode === null) {
    const content = fromJson(ContentSchema, row.content);
    event.body = { case: "content", value: content };
    event.text = textOf(content);
    if (row.metadata) event.metadata = row.metadata;
  } else if (error) {
    event.body = { case: "error", value: { ...fromJson(ErrorSchema, error), requestId } };
  } else {
    const status = { state: TaskState.CANCELED, timestamp: createdAt };
    return Object.assign(create(A2AMessageSchema, { body: { case: "status", value: status } }), {
      ...eventEnvelope(id, message),
      ...{ createdAt, sequence },
    });
  }
  return event;
}

function extrasOf(message: A2AMessage): string | null {
  const extras: A2AMessage = {
    ...message,
    ...{ messageId: "", senderId: "", receiverId: "", contextId: "", taskId: "", inReplyTo: "", text: "" },
    body: { case: undefined },
  };
  delete extras.createdAt;
  delete extras.metadata;
  const text = Buffer.from(toBinary(A2AMessageSchema, extras)).toString("base64");
  return text.length > EXTRAS_CHARACTERS_MAX ? null : text;
}
