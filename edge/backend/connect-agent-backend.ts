/** The backend over Connect: several addresses, one deadline, retries, a breaker per address. */
import { type CallOptions, Code, ConnectError, createClient } from "@connectrpc/connect";
import type { Clock } from "../../core/resilience/deadline.ts";
import { type Task, TaskState } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import { type A2AMessage, AgentService } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { AddressPool } from "./address-pool.ts";
import type { AgentBackend, BackendCall, TaskPosition } from "./agent-backend.ts";
import { answerOf, type BackendAddress, openStream } from "./backend-address.ts";
import { toBackendFailure } from "./backend-failure.ts";
import { createCallOptions, type MakeCallOptions } from "./call-options.ts";
import { reportFailure, tryAddresses } from "./try-addresses.ts";

/** What the backend's client is made of. */
export interface ConnectAgentBackendOptions {
  pool: AddressPool<BackendAddress>;
  tokenSecret: string;
  random: () => number;
  /** Unix epoch, milliseconds. */
  now: Clock;
}

type Agent = BackendAddress["agent"];

/** See {@link AgentBackend}. */
export class ConnectAgentBackend implements AgentBackend {
  readonly #pool: AddressPool<BackendAddress>;
  readonly #random: () => number;
  readonly #callOptions: MakeCallOptions;

  constructor({ pool, tokenSecret, random, now }: ConnectAgentBackendOptions) {
    this.#pool = pool;
    this.#random = random;
    this.#callOptions = createCallOptions(tokenSecret, now);
  }

  processMessage(message: A2AMessage, call: BackendCall): Promise<A2AMessage> {
    return this.#answer(call, {}, (agent, options) => agent.processMessage(message, options));
  }

  startReply(message: A2AMessage, call: BackendCall): Promise<A2AMessage> {
    return this.#answer(call, {}, (agent, options) => agent.startReply(message, options));
  }

  cancelReply(taskId: string, call: BackendCall): Promise<A2AMessage> {
    return this.#answer(call, ABOUT_A_TASK, (agent, options) => agent.cancelReply({ taskId }, options));
  }

  getTask(taskId: string, call: BackendCall): Promise<Task> {
    return this.#answer(call, ABOUT_A_TASK, (agent, options) => agent.getTask({ taskId }, options));
  }

  streamReply(message: A2AMessage, call: BackendCall): AsyncGenerator<A2AMessage, void, undefined> {
    return this.#stream(call, {}, (agent, options) => agent.streamReply(message, options));
  }

  resumeReply(position: TaskPosition, call: BackendCall): AsyncGenerator<A2AMessage, void, undefined> {
    return this.#stream(call, ABOUT_A_TASK, (agent, options) => agent.resumeReply(position, options));
  }

  #answer<Result>(
    call: BackendCall,
    kind: CallKind,
    run: (agent: Agent, options: CallOptions) => Promise<Result>,
  ): Promise<Result> {
    return this.#try(call, kind, (address) =>
      answerOf(address, this.#optionsFor(call), (options) => run(address.agent, options)),
    );
  }

  async *#stream(
    call: BackendCall,
    kind: CallKind,
    run: (agent: Agent, options: CallOptions) => AsyncIterable<A2AMessage>,
  ): AsyncGenerator<A2AMessage, void, undefined> {
    const stream = await this.#try(call, kind, (address) =>
      openStream(address, this.#optionsFor(call), (options) => run(address.agent, options)),
    );
    try {
      let event = stream.first;
      while (true) {
        yield event;
        const next = await stream.rest.next();
        if (next.done) break;
        event = next.value;
      }
      if (!endsTask(event)) throw new ConnectError("the stream ended before its task", Code.Unavailable);
    } catch (cause) {
      const failure = toBackendFailure(cause, call.signal);
      reportFailure(stream.address.breaker, failure);
      throw failure.error;
    } finally {
      stream.close();
    }
  }

  #try<Result>(
    call: BackendCall,
    kind: CallKind,
    run: (address: BackendAddress) => Promise<Result>,
  ): Promise<Result> {
    return tryAddresses({ pool: this.#pool, random: this.#random, call, run, ...kind });
  }

  #optionsFor(call: BackendCall) {
    return (signal: AbortSignal) => this.#callOptions(call, AbortSignal.any([call.signal, signal]));
  }
}

/** How {@link tryAddresses} takes the answers of a call. */
interface CallKind {
  aboutTask?: boolean;
}

const ABOUT_A_TASK: CallKind = { aboutTask: true };

/** The client of an address, for {@link BackendAddress}. */
export function createAgentClient(transport: Parameters<typeof createClient>[1]): BackendAddress["agent"] {
  return createClient(AgentService, transport);
}

/** Whether a stream may end with this event; a status other than "submitted" and "working" waits for the sender. */
function endsTask({ body }: A2AMessage): boolean {
  if (body.case === "content" || body.case === "error") return true;
  if (body.case !== "status") return false;
  const underWay = [TaskState.UNSPECIFIED, TaskState.SUBMITTED, TaskState.WORKING];
  return !underWay.includes(body.value.state);
}
