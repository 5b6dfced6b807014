/**
 * Events and records of tasks as bytes. Of an event, the ids that all events of a task share are left out and put in
 * again from the task's record: a token then takes a few dozen bytes and not some hundreds, and comes out the same.
 */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type A2AMessage, A2AMessageSchema } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { eventEnvelope } from "./event-envelope.ts";
import type { TaskRecord } from "./task-ledger.ts";

const NO_IDS = { messageId: "", senderId: "", receiverId: "", contextId: "", taskId: "", inReplyTo: "" };

/** The field number of an event in a batch. */
const EVENT_FIELD = 1;

/** Events in order, as one piece. */
export function encodeEvents(events: readonly A2AMessage[]): Buffer {
  const writer = new BinaryWriter();
  for (const event of events) {
    writer
      .tag(EVENT_FIELD, WireType.LengthDelimited)
      .bytes(toBinary(A2AMessageSchema, { ...event, ...NO_IDS }));
  }
  return Buffer.from(writer.finish());
}

/** What {@link encodeEvents} made of a task's events. */
export function decodeEvents(bytes: Uint8Array, record: TaskRecord): A2AMessage[] {
  const envelope = eventEnvelope(record.id, record.message);
  const reader = new BinaryReader(bytes);
  const events: A2AMessage[] = [];
  while (reader.pos < reader.len) {
    reader.tag();
    events.push(Object.assign(fromBinary(A2AMessageSchema, reader.bytes()), envelope));
  }
  return events;
}

type RecordFields = Omit<TaskRecord, "message"> & { message: string };

/** A record as text. */
export function encodeRecord(record: TaskRecord): string {
  const message = Buffer.from(toBinary(A2AMessageSchema, record.message)).toString("base64");
  return JSON.stringify({ ...record, message } satisfies RecordFields);
}

/** What {@link encodeRecord} made of a record. */
export function decodeRecord(text: string): TaskRecord {
  const fields = JSON.parse(text) as RecordFields;
  return { ...fields, message: fromBinary(A2AMessageSchema, Buffer.from(fields.message, "base64")) };
}
