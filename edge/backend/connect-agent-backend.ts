/** The backend over Connect: several addresses, one deadline, retries, a breaker per address. */
import { type CallOptions, type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import {
  BACKEND_TOKEN_HEADER,
  importBackendTokenSecret,
  signBackendToken,
} from "../../core/auth/backend-token.ts";
import { REQUEST_ID_HEADER } from "../../core/messages/request-id.ts";
import { TRACEPARENT_HEADER, traceparentOf } from "../../core/messages/trace-context.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import { TaskState } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import { type A2AMessage, AgentService } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { AddressBreaker } from "./address-breaker.ts";
import type { AddressPool } from "./address-pool.ts";
import type { AgentBackend, BackendCall } from "./agent-backend.ts";
import { toBackendFailure } from "./backend-failure.ts";
import { reportFailure, tryAddresses } from "./try-addresses.ts";
import { whileServing } from "./while-serving.ts";

/** One address of the backend, and the client to it. */
export interface BackendAddress {
  /** Host and port, for logs and readiness. */
  readonly name: string;
  readonly breaker: AddressBreaker;
  readonly agent: Client<typeof AgentService>;
  /** Rejects when the address does not serve, or does not say so before the signal aborts. */
  readonly check: (signal: AbortSignal) => Promise<void>;
}

/** What the backend's client is made of. */
export interface ConnectAgentBackendOptions {
  pool: AddressPool<BackendAddress>;
  tokenSecret: string;
  random: () => number;
  /** Unix epoch, milliseconds. */
  now: Clock;
}

/** A stream whose first event has come. */
interface OpenStream {
  address: BackendAddress;
  first: A2AMessage;
  rest: AsyncIterator<A2AMessage>;
  /** Ends the call on the wire. */
  close(): void;
}

/** See {@link AgentBackend}. */
export class ConnectAgentBackend implements AgentBackend {
  readonly #pool: AddressPool<BackendAddress>;
  readonly #random: () => number;
  readonly #now: Clock;
  readonly #tokenSecret: string;
  /** Kept as the key itself, once there: a promise of one request must not be awaited by another. */
  #tokenKey: Awaited<ReturnType<typeof importBackendTokenSecret>> | undefined;

  constructor({ pool, tokenSecret, random, now }: ConnectAgentBackendOptions) {
    this.#pool = pool;
    this.#tokenSecret = tokenSecret;
    this.#random = random;
    this.#now = now;
  }

  processMessage(message: A2AMessage, call: BackendCall): Promise<A2AMessage> {
    return tryAddresses(this.#pool, call, this.#random, async (address) => {
      const abort = new AbortController();
      const options = await this.#callOptions(call, AbortSignal.any([call.signal, abort.signal]));
      return whileServing({
        check: address.check,
        end: () => abort.abort(),
        answer: address.agent.processMessage(message, options),
      });
    });
  }

  async *streamReply(message: A2AMessage, call: BackendCall): AsyncGenerator<A2AMessage, void, undefined> {
    const stream = await tryAddresses(this.#pool, call, this.#random, (address) =>
      this.#openStream(address, message, call),
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

  async #openStream(address: BackendAddress, message: A2AMessage, call: BackendCall): Promise<OpenStream> {
    // Leaving the iteration does not end a call; only its signal does.
    const abort = new AbortController();
    const signal = AbortSignal.any([call.signal, abort.signal]);
    const events = address.agent.streamReply(message, await this.#callOptions(call, signal));
    const rest = events[Symbol.asyncIterator]();
    const close = () => {
      abort.abort();
      // Connect clears its deadline timer when it is next asked for an event.
      rest.next().catch(() => {});
    };
    try {
      const answer = rest.next();
      const first = await whileServing({ check: address.check, end: () => abort.abort(), answer });
      if (first.done) throw new ConnectError("the stream ended without an event", Code.Unavailable);
      return { address, first: first.value, rest, close };
    } catch (error) {
      close();
      throw error;
    }
  }

  async #callOptions(call: BackendCall, signal: AbortSignal): Promise<CallOptions> {
    const timeoutMs = Math.ceil(call.deadline.remainingMsOrThrow());
    this.#tokenKey ??= await importBackendTokenSecret(this.#tokenSecret);
    const { principal, requestId } = call;
    const token = await signBackendToken(this.#tokenKey, { principal, requestId }, this.#now());
    return {
      signal,
      timeoutMs,
      headers: {
        [BACKEND_TOKEN_HEADER]: token,
        [REQUEST_ID_HEADER]: requestId,
        [TRACEPARENT_HEADER]: traceparentOf(call.trace),
      },
    };
  }
}

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
