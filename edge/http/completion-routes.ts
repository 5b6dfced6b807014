/** The OpenAI-compatible surface: `POST /v1/chat/completions`, `GET /v1/models`, `GET /v1/models/{id}`. */
import type { Context } from "hono";
import type { Agent } from "../../core/directory/agent.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { messageOf } from "../completions/completion-message.ts";
import { completionOf } from "../completions/completion-object.ts";
import { type CompletionRequest, checkCompletionRequest } from "../completions/completion-request.ts";
import { completionStream, dataEvent, STREAM_RESTARTED } from "../completions/completion-stream.ts";
import { openaiErrorBody } from "../completions/openai-error.ts";
import { findReachableAgent } from "../routing/find-reachable-agent.ts";
import { withPresetReply } from "../routing/with-preset-reply.ts";
import { noteReply } from "./backend-call.ts";
import { chargedEvents, outlivingCall } from "./charged-events.ts";
import type { EdgeEnv } from "./edge-env.ts";
import { takeMessage, type Work, wholeReply } from "./message-route.ts";
import { KEEP_ALIVE_COMMENT, KEEP_ALIVE_MS, pulledStream } from "./pulled-stream.ts";
import { readJsonBody } from "./read-input.ts";
import { setReplyHeaders } from "./reply-headers.ts";
import { leave, untilAborted } from "./reply-stream.ts";
import { TaskStop } from "./task-stop.ts";

/** How long a stream waits for its first piece, so that a failure before it has a status of its own. */
const BEGIN_MS = 10_000;
/** Names of messages, as the contract has them. */
const MESSAGE_ID_PATTERN = /^[A-Za-z0-9._:-]{1,128}$/;

/** One answer, whole or in pieces. */
export async function postCompletion(c: Context<EdgeEnv>): Promise<Response> {
  const request = checkCompletionRequest(await readJsonBody(c));
  const work = await takeMessage(c, messageOf(request, idempotencyKey(c)));
  if (request.stream) return streamCompletion(c, request, work);
  const reply = await wholeReply(c, work);
  setReplyHeaders(c, reply);
  return c.json(completionOf(reply, work.route.agent.id));
}

/** The agents that the caller can reach, as models. */
export async function listModels(c: Context<EdgeEnv>): Promise<Response> {
  const { directory } = c.get("composition");
  const agents = await directory.listAgents(c.get("principal").tenantId, c.get("abort").signal);
  return c.json({ object: "list", data: agents.map(toModel) });
}

/** One of them. */
export async function getModel(c: Context<EdgeEnv>): Promise<Response> {
  const { directory } = c.get("composition");
  const { tenantId } = c.get("principal");
  const id = c.req.param("id") ?? "";
  return c.json(toModel(await findReachableAgent(directory, tenantId, id, c.get("abort").signal)));
}

function toModel({ id, name, description, updatedAtMs }: Agent) {
  const created = Math.floor(updatedAtMs / 1000);
  return { id, object: "model", created, owned_by: "parley", name, description };
}

async function streamCompletion(
  c: Context<EdgeEnv>,
  request: CompletionRequest,
  work: Work,
): Promise<Response> {
  const task = new TaskStop(c);
  let reply: A2AMessage | undefined;
  const key = idempotencyKey(c);
  // What has been answered already may have a restart in it, which a live stream would end at again and again.
  let holdBack = holdsBack(c, work.route.agent);
  const call = outlivingCall(c, work.charge);
  const onKnownTask = () => {
    holdBack = true;
    call.onKnownTask?.();
  };
  const events = c.get("composition").backend.streamReply(work.message, { ...call, onKnownTask });
  const seen = watched(events, (event) => {
    task.note(event);
    noteReply(c.get("access"), event);
    if (event.body.case === "content") reply = event;
  });
  const made = completionStream({
    events: chargedEvents(c, work.charge, seen),
    agentId: work.route.agent.id,
    holdBack: () => holdBack,
    includeUsage: request.stream_options?.include_usage ?? false,
  });
  const { signal } = c.get("abort");
  const pieces = untilAborted(made, signal);
  const fail = (failure: unknown) => {
    const error = withPresetReply(failure, work.route.agent);
    // Who has named the request can ask for the whole answer by that name.
    if (key !== "" && error.reason === STREAM_RESTARTED) task.letGoOn();
    // Nobody reads on: the task is stopped, and followed to its end for its cost.
    c.get("abort").abort(error);
    return error;
  };
  const first = pieces.next();
  const begun = await withinMs(first, BEGIN_MS).catch((failure: unknown) => {
    throw fail(failure);
  });
  // Of an answer that is whole already, its headers can say more.
  if (reply) setReplyHeaders(c, reply);
  let next: Promise<IteratorResult<string>> | undefined = begun ? undefined : first;
  const body = pulledStream({
    first: begun?.value ?? KEEP_ALIVE_COMMENT,
    next: async () => {
      try {
        const piece = await (next ?? pieces.next());
        next = undefined;
        return piece.done ? undefined : piece.value;
      } catch (failure) {
        next = undefined;
        const error = fail(failure);
        c.get("access").fail(error);
        return dataEvent({ ...openaiErrorBody(error) });
      }
    },
    keepAliveMs: KEEP_ALIVE_MS,
    onCancel: () => leave(c),
    onEnd: c.get("lifetime").hold(),
  });
  return c.body(body, 200, { "Content-Type": "text/event-stream" });
}

async function* watched(
  events: AsyncIterable<A2AMessage>,
  see: (event: A2AMessage) => void,
): AsyncGenerator<A2AMessage, void> {
  for await (const event of events) {
    see(event);
    yield event;
  }
}

/** Undefined when it takes longer; the promise is still to be awaited then. */
async function withinMs<T>(promise: Promise<T>, limitMs: number): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, limitMs, undefined);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The request's header, else the agent's configuration. @throws ParleyError for another word than these */
function holdsBack(c: Context<EdgeEnv>, { config }: Agent): boolean {
  const header = c.req.header("parley-stream");
  if (header === undefined) return config.kind === "model" && (config.completions?.holdBack ?? false);
  if (header === "hold-back" || header === "live") return header === "hold-back";
  throw new ParleyError("invalid_argument", "Parley-Stream must be hold-back or live");
}

/** The same key again is the same request again. @throws ParleyError for what cannot be one */
function idempotencyKey(c: Context<EdgeEnv>): string {
  const key = c.req.header("idempotency-key") ?? "";
  if (key === "" || MESSAGE_ID_PATTERN.test(key)) return key;
  throw new ParleyError(
    "invalid_argument",
    "Idempotency-Key must be 1 to 128 characters of A-Z a-z 0-9 . _ : -",
  );
}
