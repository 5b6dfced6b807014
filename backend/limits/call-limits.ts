/**
 * The limits of callers that reach the backend's port themselves. Calls of an edge have been counted there; their
 * caller has no limits here.
 */
import { Admission, type LimitedCaller } from "../../core/limits/admission.ts";
import { estimateTokens } from "../../core/limits/estimate-tokens.ts";
import type { Limiter } from "../../core/limits/limiter.ts";
import { ReplyCharge } from "../../core/limits/reply-charge.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { VerifiedCaller } from "../rpc/caller.ts";
import type { Task } from "../tasks/task.ts";

/** A process is not ended with a call: work in the background needs no telling. */
const inBackground = (work: Promise<unknown>) => void work.catch(() => {});

/** Counts calls and charges turns, on one limiter. */
export class CallLimits {
  readonly #admission: Admission;
  /**
   * A message that is sent again gets the task that it has; it costs nothing more. Not in here are tasks of other
   * processes, which another request has made and paid for.
   */
  readonly #charged = new WeakSet<Task>();

  constructor(limiter: Limiter) {
    this.#admission = new Admission(limiter);
  }

  /** @throws ParleyError `resource_exhausted`, reason `request-limit` */
  async countRequest(caller: VerifiedCaller): Promise<void> {
    const limited = limitedCaller(caller);
    if (!limited) return;
    const { refusal } = await this.#admission.countRequest(limited, inBackground);
    if (refusal) throw refusal;
  }

  /**
   * Sets tokens aside, has the message accepted, and settles when its task has ended, whoever follows it then.
   *
   * @throws ParleyError `resource_exhausted`, reason `token-limit` or `tenant-token-limit`; what `accept` throws
   */
  async charge(caller: VerifiedCaller, message: A2AMessage, accept: () => Promise<Task>): Promise<Task> {
    const limited = limitedCaller(caller);
    if (!limited) return this.#remember(await accept());
    const tokens = estimateTokens(message, limited.limits);
    const { refusal, reservation } = await this.#admission.reserveTokens(limited, tokens, inBackground);
    if (refusal) throw refusal;
    try {
      const task = await accept();
      if (this.#charged.has(task) || task.requestId !== caller.requestId) inBackground(reservation.settle(0));
      else inBackground(settleAtEnd(task, new ReplyCharge(reservation, message, inBackground)));
      return this.#remember(task);
    } catch (error) {
      inBackground(reservation.settle(0));
      throw error;
    }
  }

  #remember(task: Task): Task {
    this.#charged.add(task);
    return task;
  }
}

async function settleAtEnd(task: Task, charge: ReplyCharge): Promise<void> {
  for await (const event of task.events.follow(0, new AbortController().signal)) charge.note(event);
}

function limitedCaller({ principal, limits }: VerifiedCaller): LimitedCaller | undefined {
  const { tenantId, keyId, subject } = principal;
  return limits && { tenantId, keyId, subject, limits };
}
