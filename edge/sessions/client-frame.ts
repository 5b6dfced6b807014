/**
 * What a client's frame says. Frames come from anybody: size, encoding, depth and shape are checked before anything is
 * done, and every refusal says what was wrong.
 */
import type { JsonValue } from "@bufbuild/protobuf";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { envelopeFromJsonText } from "../../core/messages/envelope.ts";
import { acceptOrMintRequestId } from "../../core/messages/request-id.ts";
import { acceptOrStartTrace, type TraceContext } from "../../core/messages/trace-context.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";

/** What the runtime puts in place of bytes that are no UTF-8. */
const REPLACEMENT_CHARACTER = "\ufffd";

/** A frame, read. */
export interface ClientFrame {
  /** The last number that the client has, when it says so. */
  readonly ack: number | undefined;
  /** A message or a cancel; undefined for a frame that only acknowledges. */
  readonly message: A2AMessage | undefined;
  /** How long the client will wait for the reply, milliseconds. */
  readonly timeoutMs: number | undefined;
  readonly requestId: string;
  readonly trace: TraceContext;
}

/** @throws ParleyError `invalid_argument` */
export function readClientFrame(data: string | ArrayBuffer, bytesMax: number): ClientFrame {
  if (typeof data !== "string") {
    throw refusal("frames are JSON text; this one is binary", "binary-frame");
  }
  // No UTF-8 is shorter than a byte a UTF-16 unit; only what may be too long is measured.
  const isTooLarge =
    data.length > bytesMax ||
    (data.length * 3 > bytesMax && new TextEncoder().encode(data).length > bytesMax);
  if (isTooLarge) {
    throw refusal(`the frame is larger than the limit of ${bytesMax} bytes`, "frame-too-large", { bytesMax });
  }
  if (data.includes(REPLACEMENT_CHARACTER)) {
    throw refusal("the frame is not UTF-8; write U+FFFD as \\ufffd where it is meant", "not-utf-8");
  }
  const message = envelopeFromJsonText(data);
  const fields = takeOwnFields(message);
  const frame = {
    ack: wholeNumber("ack", fields["ack"], 0),
    timeoutMs: wholeNumber("timeoutMs", fields["timeoutMs"], 1),
    requestId: acceptOrMintRequestId(textOr(fields["requestId"])),
    trace: acceptOrStartTrace(textOr(fields["traceparent"])),
  };
  const isBare = message.body.case === undefined && message.receiverId === "" && message.messageId === "";
  if (isBare && frame.ack === undefined) {
    throw refusal("the frame says nothing: it needs a message, a `cancel` or `metadata.ack`");
  }
  return { ...frame, message: isBare ? undefined : message };
}

/** What is for the gateway is not handed on, or a message sent again with another `ack` would be another message. */
function takeOwnFields(message: A2AMessage): Record<string, JsonValue | undefined> {
  const { ack, timeoutMs, requestId, traceparent, ...rest } = message.metadata ?? {};
  if (message.metadata !== undefined) {
    if (Object.keys(rest).length > 0) message.metadata = rest;
    else delete message.metadata;
  }
  return { ack, timeoutMs, requestId, traceparent };
}

function wholeNumber(name: string, value: JsonValue | undefined, min: number): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= min) return value;
  throw refusal(`metadata.${name} must be a whole number of at least ${min}`);
}

function textOr(value: JsonValue | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function refusal(message: string, reason?: string, details?: { bytesMax: number }): ParleyError {
  return new ParleyError("invalid_argument", message, {
    ...(reason !== undefined && { reason, details: { reason, ...details } }),
  });
}
