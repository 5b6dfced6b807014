/** `POST /api/v1/a2a/message`: a message in; out its reply as JSON or as server-sent events, or its task at once. */
import { create } from "@bufbuild/protobuf";
import type { Context } from "hono";
import { abortable } from "../../core/directory/abortable.ts";
import type { ReplyCharge } from "../../core/limits/reply-charge.ts";
import { envelopeFromJsonText, envelopeToJson } from "../../core/messages/envelope.ts";
import { TaskSchema, TaskState } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { admitMessage } from "../routing/admit-message.ts";
import { type Route, routeMessage } from "../routing/route-message.ts";
import { withPresetReply } from "../routing/with-preset-reply.ts";
import { noteReply } from "./backend-call.ts";
import { chargedCall, chargedEvents, chargedReply, outlivingCall } from "./charged-events.ts";
import type { EdgeEnv } from "./edge-env.ts";
import { reserveTokens, runInBackground } from "./limit.ts";
import { prefersAsync } from "./preference.ts";
import { readJsonText } from "./read-body.ts";
import { replyFormatOf } from "./reply-format.ts";
import { setReplyHeaders } from "./reply-headers.ts";
import { answerWithEvents } from "./reply-stream.ts";
import { taskToJson } from "./task-routes.ts";

/** Longest receiver that is logged: as long as the contract allows. */
const RECEIVER_CHARACTERS_MAX = 128;

/** A message on its way to be answered. */
export interface Work {
  message: A2AMessage;
  route: Route;
  charge: ReplyCharge;
}

/** The route, behind deadline, authentication and scope. */
export async function postMessage(c: Context<EdgeEnv>): Promise<Response> {
  const { config } = c.get("composition");
  const format = replyFormatOf(c.req.header("accept"));
  const { signal } = c.get("abort");
  const text = await readJsonText(c.req.raw, { bytesMax: config.requestBytesMax, signal });
  const work = await takeMessage(c, envelopeFromJsonText(text));
  if (format === "event-stream") return replyWithEvents(c, work);
  return prefersAsync(c.req.header("prefer")) ? replyWithTask(c, work) : replyWithJson(c, work);
}

/** Checks a message, finds who answers it and sets its tokens aside. */
export async function takeMessage(c: Context<EdgeEnv>, message: A2AMessage): Promise<Work> {
  const principal = c.get("principal");
  const access = c.get("access");
  access.add({ receiver: message.receiverId.slice(0, RECEIVER_CHARACTERS_MAX) });
  admitMessage(message, principal);
  const { directory } = c.get("composition");
  const route = await routeMessage(directory, message, principal, c.get("abort").signal);
  access.add({ agentId: route.agent.id });
  return { message, route, charge: await reserveTokens(c, message) };
}

/** The whole reply, charged and noted. @throws ParleyError as the caller gets it */
export async function wholeReply(c: Context<EdgeEnv>, work: Work): Promise<A2AMessage> {
  const { backend } = c.get("composition");
  const answer = backend.processMessage(work.message, outlivingCall(c, work.charge));
  const reply = await chargedReply(c, work.charge, answer).catch((failure: unknown) => {
    throw withPresetReply(failure, work.route.agent);
  });
  noteReply(c.get("access"), reply);
  return reply;
}

async function replyWithJson(c: Context<EdgeEnv>, work: Work): Promise<Response> {
  const reply = await wholeReply(c, work);
  setReplyHeaders(c, reply);
  return c.json(envelopeToJson(reply));
}

async function replyWithEvents(c: Context<EdgeEnv>, work: Work): Promise<Response> {
  const { message, charge, route } = work;
  const reply = c.get("composition").backend.streamReply(message, outlivingCall(c, charge));
  const events = chargedEvents(c, charge, reply);
  // Until the first event is there, a failure is an answer of its own, with its status.
  const first = await abortable(events.next(), c.get("abort").signal).catch((failure: unknown) => {
    throw withPresetReply(failure, route.agent);
  });
  if (first.done) throw new Error("a reply stream ended without an event");
  const { receiverId, senderId, contextId, messageId } = message;
  return answerWithEvents(c, {
    first: first.value,
    events,
    toError: (failure) => withPresetReply(failure, route.agent),
    about: { senderId: receiverId, receiverId: senderId, contextId, inReplyTo: messageId },
  });
}

/** 202 with the task, which goes on by itself. */
async function replyWithTask(c: Context<EdgeEnv>, work: Work): Promise<Response> {
  const { backend } = c.get("composition");
  const call = chargedCall(c, work.charge);
  const accepted = await backend.startReply(work.message, call).catch((failure: unknown) => {
    const error = withPresetReply(failure, work.route.agent);
    work.charge.fail(error);
    throw error;
  });
  chargeInBackground(c, work, accepted);
  const { taskId: id, contextId, createdAt, sequence } = accepted;
  c.header("Location", `/api/v1/a2a/tasks/${id}`);
  c.header("Preference-Applied", "respond-async");
  const task = create(TaskSchema, {
    ...{ id, contextId },
    status: { state: TaskState.SUBMITTED, ...(createdAt && { timestamp: createdAt }) },
    metadata: { agentId: work.route.agent.id, sequence },
  });
  return c.json(taskToJson(task), 202);
}

/** Not waiting is no way to be answered for less: the task is followed for its cost while the request has time. */
function chargeInBackground(c: Context<EdgeEnv>, { charge }: Work, { taskId, sequence }: A2AMessage): void {
  const { backend } = c.get("composition");
  const release = c.get("lifetime").hold();
  const follow = async () => {
    const events = backend.resumeReply({ taskId, afterSequence: sequence }, outlivingCall(c, charge));
    for await (const event of chargedEvents(c, charge, events)) noteReply(c.get("access"), event);
  };
  runInBackground(c, follow().finally(release));
}
