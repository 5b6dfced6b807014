/** `/api/v1/a2a/tasks/{id}`: a task of the caller's as it stands, its events, its end. */
import { type JsonObject, toJson } from "@bufbuild/protobuf";
import type { Context } from "hono";
import { ParleyError, toParleyError } from "../../core/errors/parley-error.ts";
import { sleep } from "../../core/resilience/full-jitter.ts";
import { type Task, TaskSchema, TaskState } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import { backendCall } from "./backend-call.ts";
import type { EdgeEnv } from "./edge-env.ts";
import { readQuery } from "./read-input.ts";
import { answerWithEvents } from "./reply-stream.ts";
import { taskPosition } from "./task-position.ts";

const TASK_ID_PATTERN = /^[A-Za-z0-9._:-]{1,128}$/;
const ID_CHARACTERS_SHOWN = 128;

/** A task's newest events may be seen before they are stored: a position that is in the future is asked for again. */
const POSITION_TRIES_MAX = 3;
const POSITION_WAIT_MS = 200;

const ENDED: readonly TaskState[] = [
  TaskState.COMPLETED,
  TaskState.FAILED,
  TaskState.CANCELED,
  TaskState.REJECTED,
];

/** The task: its state, and its reply once there is one. */
export async function getTask(c: Context<EdgeEnv>): Promise<Response> {
  return c.json(taskToJson(await findTask(c, taskIdOf(c))));
}

/** Its events after a position, then live; 204 when there will be none, which ends an event source. */
export async function getTaskEvents(c: Context<EdgeEnv>): Promise<Response> {
  const taskId = taskIdOf(c);
  const afterSequence = taskPosition({
    after: readQuery(c)["after"],
    lastEventId: c.req.header("last-event-id"),
  });
  const task = await findTaskAt(c, taskId, afterSequence);
  if (sequenceOf(task) === afterSequence && ENDED.includes(stateOf(task))) return c.body(null, 204);
  const { backend } = c.get("composition");
  return answerWithEvents(c, {
    events: backend.resumeReply({ taskId, afterSequence }, backendCall(c)),
    toError: toParleyError,
    about: { taskId, contextId: task.contextId },
  });
}

/** Stops the task; answers when it has ended, with how it did. One that has ended already is left as it is. */
export async function cancelTask(c: Context<EdgeEnv>): Promise<Response> {
  const taskId = taskIdOf(c);
  await c.get("composition").backend.cancelReply(taskId, backendCall(c));
  return c.json(taskToJson(await findTask(c, taskId)));
}

/** A task as JSON: ProtoJSON of `lf.a2a.v1.Task`. */
export function taskToJson(task: Task): JsonObject {
  return toJson(TaskSchema, task) as JsonObject;
}

/** What cannot be an id names no task; nobody needs to be asked. */
function taskIdOf(c: Context<EdgeEnv>): string {
  const id = c.req.param("id") ?? "";
  if (TASK_ID_PATTERN.test(id)) return id;
  const shown = id.slice(0, ID_CHARACTERS_SHOWN);
  throw new ParleyError("not_found", `there is no task "${shown}", or it ended too long ago to be followed`);
}

function findTask(c: Context<EdgeEnv>, taskId: string): Promise<Task> {
  return c.get("composition").backend.getTask(taskId, backendCall(c));
}

/** @throws ParleyError `invalid_argument` when the task does not get as far as the position */
async function findTaskAt(c: Context<EdgeEnv>, taskId: string, afterSequence: number): Promise<Task> {
  for (let tries = 1; ; tries++) {
    const task = await findTask(c, taskId);
    const sequence = sequenceOf(task);
    if (afterSequence <= sequence) return task;
    if (tries >= POSITION_TRIES_MAX || ENDED.includes(stateOf(task))) {
      throw new ParleyError(
        "invalid_argument",
        `the position ${afterSequence} is in the future: the newest event of the task is ${sequence}`,
        { reason: "position-in-future", details: { sequence } },
      );
    }
    await sleep(POSITION_WAIT_MS, c.get("abort").signal);
  }
}

function stateOf({ status }: Task): TaskState {
  return status?.state ?? TaskState.UNSPECIFIED;
}

function sequenceOf({ metadata }: Task): number {
  const sequence = metadata?.["sequence"];
  return typeof sequence === "number" ? sequence : 0;
}
