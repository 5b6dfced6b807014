/** The backend over Connect: several addresses, one deadline, retries, a breaker per address. */
import { type CallOptions, ConnectError, createClient } from "@connectrpc/connect";
import type { Clock } from "../../core/resilience/deadline.ts";
import type { Task } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import { type A2AMessage, AgentService } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { AddressPool } from "./address-pool.ts";
import type { AgentBackend, BackendCall, TaskPosition } from "./agent-backend.ts";
import { answerOf, type BackendAddress, type OpenStream, openStream } from "./backend-address.ts";
import { createCallOptions, type MakeCallOptions, noteKnownTask } from "./call-options.ts";
import { followReply } from "./followed-reply.ts";
import { tryAddresses } from "./try-addresses.ts";

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
  readonly #now: Clock;
  readonly #callOptions: MakeCallOptions;

  constructor({ pool, tokenSecret, random, now }: ConnectAgentBackendOptions) {
    this.#pool = pool;
    this.#random = random;
    this.#now = now;
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
    return this.#follow(
      call,
      { kind: {}, mayBeEmpty: false, run: (agent, options) => agent.streamReply(message, options) },
      0,
    );
  }

  resumeReply(position: TaskPosition, call: BackendCall): AsyncGenerator<A2AMessage, void, undefined> {
    return this.#follow(call, resumeCall(position), position.afterSequence);
  }

  #answer<Result>(
    call: BackendCall,
    kind: CallKind,
    run: (agent: Agent, options: CallOptions) => Promise<Result>,
  ): Promise<Result> {
    return this.#try(call, kind, async (address) => {
      try {
        return await answerOf(address, this.#optionsFor(call), (options) => run(address.agent, options));
      } catch (failure) {
        if (failure instanceof ConnectError) noteKnownTask(call, failure.metadata);
        throw failure;
      }
    });
  }

  #follow(call: BackendCall, first: StreamCall, afterSequence: number) {
    let attempts = 0;
    const counted = { ...call, onAttempt: (address: string) => call.onAttempt(address, ++attempts) };
    return followReply({
      ...{ call, random: this.#random, afterSequence },
      open: () => this.#open(counted, first),
      resume: (position) => this.#open(counted, resumeCall(position)),
    });
  }

  #open(call: BackendCall, { kind, run, mayBeEmpty }: StreamCall): Promise<OpenStream> {
    return this.#try(call, kind, (address) => {
      const start = (options: CallOptions) => run(address.agent, options);
      return openStream(address, this.#optionsFor(call), start, mayBeEmpty);
    });
  }

  #try<Result>(
    call: BackendCall,
    kind: CallKind,
    run: (address: BackendAddress) => Promise<Result>,
  ): Promise<Result> {
    return tryAddresses({ pool: this.#pool, random: this.#random, now: this.#now, call, run, ...kind });
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

/** A call that is answered by a stream. */
interface StreamCall {
  kind: CallKind;
  /** Whether a stream without an event is an answer; otherwise it is a failure. */
  mayBeEmpty: boolean;
  run: (agent: Agent, options: CallOptions) => AsyncIterable<A2AMessage>;
}

/** Nothing comes when the task has ended and its last event is known. */
function resumeCall({ taskId, afterSequence }: TaskPosition): StreamCall {
  return {
    kind: ABOUT_A_TASK,
    mayBeEmpty: true,
    run: (agent, options) => agent.resumeReply({ taskId, afterSequence }, options),
  };
}

/** The client of an address, for {@link BackendAddress}. */
export function createAgentClient(transport: Parameters<typeof createClient>[1]): BackendAddress["agent"] {
  return createClient(AgentService, transport);
}
