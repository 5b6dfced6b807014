/**
 * Stops a task whose caller has no other way to stop it: on a wire without tasks, who closes the connection wants no
 * more of the answer, and an answer that cannot be mended needs no end.
 */
import type { Context } from "hono";
import { Deadline } from "../../core/resilience/deadline.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { backendCall } from "./backend-call.ts";
import type { EdgeEnv } from "./edge-env.ts";
import { runInBackground } from "./limit.ts";

/** For the call that stops it, beyond the time of the request. */
const STOP_MS = 5_000;

const LAST_EVENTS: readonly A2AMessage["body"]["case"][] = ["content", "error", "status"];

/** Watches one task's events, to know which one to stop and whether there is anything to stop. */
export class TaskStop {
  readonly #context: Context<EdgeEnv>;
  #taskId = "";
  #isOver = false;

  /** Stops the task, too, when the request is aborted: its caller has gone, or its time is up. */
  constructor(context: Context<EdgeEnv>) {
    this.#context = context;
    context.get("abort").signal.addEventListener("abort", () => this.stop(), { once: true });
  }

  /** Sees each event as it comes. */
  note({ taskId, body }: A2AMessage): void {
    this.#taskId = taskId;
    this.#isOver = LAST_EVENTS.includes(body.case);
  }

  /** Begins to stop the task, in the background; once, and not when it has ended or is not known. */
  stop(): void {
    if (this.#isOver || this.#taskId === "") return;
    this.#isOver = true;
    const { backend, now } = this.#context.get("composition");
    const call = {
      ...backendCall(this.#context),
      deadline: Deadline.after(STOP_MS, now),
      signal: AbortSignal.timeout(STOP_MS),
      onAttempt: () => {},
    };
    runInBackground(this.#context, backend.cancelReply(this.#taskId, call));
  }
}
