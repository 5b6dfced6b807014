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

/**
 * Watches one task's events, to know which one to stop and whether there is anything to stop; stops it when the request
 * is aborted: its caller has gone, its time is up, or its answer cannot be mended.
 */
export class TaskStop {
  readonly #context: Context<EdgeEnv>;
  #isOver = false;

  constructor(context: Context<EdgeEnv>) {
    this.#context = context;
  }

  /** Sees each event as it comes; the first one names the task. */
  note({ taskId, body, sequence }: A2AMessage): void {
    if (LAST_EVENTS.includes(body.case)) this.#isOver = true;
    if (sequence > 1) return;
    const { signal } = this.#context.get("abort");
    if (signal.aborted) this.#stop(taskId);
    else signal.addEventListener("abort", () => this.#stop(taskId), { once: true });
  }

  /** Its caller may come back for the answer: nothing stops it any more. */
  letGoOn(): void {
    this.#isOver = true;
  }

  #stop(taskId: string): void {
    if (this.#isOver) return;
    const { backend, now } = this.#context.get("composition");
    const call = {
      ...backendCall(this.#context),
      deadline: Deadline.after(STOP_MS, now),
      signal: AbortSignal.timeout(STOP_MS),
      onAttempt: () => {},
    };
    runInBackground(this.#context, backend.cancelReply(taskId, call));
  }
}
