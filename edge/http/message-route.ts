/** `POST /api/v1/a2a/message`: a message in, its reply out, as JSON or as server-sent events. */
import { create } from "@bufbuild/protobuf";
import type { Context } from "hono";
import { isErrorCode, ParleyError } from "../../core/errors/parley-error.ts";
import type { ReplyCharge } from "../../core/limits/reply-charge.ts";
import { envelopeFromJsonText, envelopeToJson } from "../../core/messages/envelope.ts";
import { errorMessageBody } from "../../core/messages/error-body.ts";
import {
  type A2AMessage,
  A2AMessageSchema,
  type Error as ErrorMessage,
} from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { BackendCall } from "../backend/agent-backend.ts";
import { admitMessage } from "../routing/admit-message.ts";
import { type Route, routeMessage } from "../routing/route-message.ts";
import { withPresetReply } from "../routing/with-preset-reply.ts";
import type { AccessRecord } from "./access-record.ts";
import type { EdgeEnv } from "./edge-env.ts";
import { eventStream, KEEP_ALIVE_MS } from "./event-stream.ts";
import { reserveTokens } from "./limit.ts";
import { readJsonText } from "./read-body.ts";
import { replyFormatOf } from "./reply-format.ts";
import { clientGone } from "./request-deadline.ts";

/** Longest receiver that is logged: as long as the contract allows. */
const RECEIVER_CHARACTERS_MAX = 128;
/** What may stand in a header: visible ASCII and spaces. */
const HEADER_TEXT = /^[\x20-\x7e]{1,200}$/;

/** The route, behind deadline, authentication and scope. */
export async function postMessage(c: Context<EdgeEnv>): Promise<Response> {
  const { config, directory } = c.get("composition");
  const principal = c.get("principal");
  const { signal } = c.get("abort");
  const access = c.get("access");
  const format = replyFormatOf(c.req.header("accept"));
  const text = await readJsonText(c.req.raw, { bytesMax: config.requestBytesMax, signal });
  const message = envelopeFromJsonText(text);
  access.add({ receiver: message.receiverId.slice(0, RECEIVER_CHARACTERS_MAX) });
  admitMessage(message, principal);
  const route = await routeMessage(directory, principal.tenantId, message.receiverId, signal);
  access.add({ agentId: route.agent.id });
  const work = { message, route, charge: await reserveTokens(c, message) };
  return format === "json" ? replyWithJson(c, work) : replyWithEvents(c, work);
}

/** A message on its way to be answered. */
interface Work {
  message: A2AMessage;
  route: Route;
  charge: ReplyCharge;
}

async function replyWithJson(c: Context<EdgeEnv>, { message, route, charge }: Work): Promise<Response> {
  const { backend } = c.get("composition");
  const reply = await backend.processMessage(message, backendCall(c)).catch((failure: unknown) => {
    throw failedReply(failure, route, charge);
  });
  charge.note(reply);
  noteReply(c.get("access"), reply);
  for (const [header, field] of [
    ["Parley-Model", "model"],
    ["Parley-Degraded", "degraded"],
  ] as const) {
    const value = reply.metadata?.[field];
    if (typeof value === "string" && HEADER_TEXT.test(value)) c.header(header, value);
  }
  return c.json(envelopeToJson(reply));
}

async function replyWithEvents(c: Context<EdgeEnv>, { message, route, charge }: Work): Promise<Response> {
  const { backend } = c.get("composition");
  const access = c.get("access");
  const events = backend.streamReply(message, backendCall(c));
  // Until the first event is there, a failure is an answer of its own, with its status.
  const first = await events.next().catch((failure: unknown) => {
    throw failedReply(failure, route, charge);
  });
  if (first.done) throw new Error("a reply stream ended without an event");
  const body = eventStream({
    first: first.value,
    rest: events,
    keepAliveMs: KEEP_ALIVE_MS,
    onEvent: (event) => {
      noteReply(access, event);
      charge.note(event);
      if (event.body.case === "error") access.fail(failureOf(event.body.value));
    },
    toErrorEvent: (failure) => {
      const error = failedReply(failure, route, charge);
      access.fail(error);
      return errorEvent(error, message, c.get("requestId"));
    },
    onCancel: () => {
      access.fail(clientGone());
      c.get("abort").abort(clientGone());
    },
    onEnd: c.get("lifetime").hold(),
  });
  return c.body(body, 200, { "Content-Type": "text/event-stream" });
}

function failedReply(failure: unknown, { agent }: Route, charge: ReplyCharge): ParleyError {
  const error = withPresetReply(failure, agent);
  charge.fail(error);
  return error;
}

function backendCall(c: Context<EdgeEnv>): BackendCall {
  return {
    principal: c.get("principal"),
    requestId: c.get("requestId"),
    trace: c.get("trace"),
    deadline: c.get("deadline"),
    signal: c.get("abort").signal,
    onAttempt: (backend, attempts) => c.get("access").add({ backend, attempts }),
  };
}

function noteReply(access: AccessRecord, { metadata }: A2AMessage): void {
  const model = metadata?.["model"];
  const degraded = metadata?.["degraded"];
  if (typeof model === "string") access.add({ model });
  if (typeof degraded === "string") access.add({ degraded });
}

/** A task's failure, as it came in the stream, for the log. */
function failureOf({ code, message }: ErrorMessage): ParleyError {
  return new ParleyError(isErrorCode(code) ? code : "internal", message);
}

/** The gateway's own last event of a stream that broke: no position in the task, which may well go on. */
function errorEvent(error: ParleyError, message: A2AMessage, requestId: string): A2AMessage {
  return create(A2AMessageSchema, {
    senderId: message.receiverId,
    receiverId: message.senderId,
    contextId: message.contextId,
    inReplyTo: message.messageId,
    body: errorMessageBody(error, requestId),
  });
}
