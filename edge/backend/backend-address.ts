/** One address of the backend, and the two kinds of calls to it: one answer, or a stream whose first event has come. */
import { type CallOptions, type Client, Code, ConnectError } from "@connectrpc/connect";
import type { A2AMessage, AgentService } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { KnowledgeService } from "../../proto/gen/parley/v1/knowledge_service_pb.js";
import type { AddressBreaker } from "./address-breaker.ts";
import { whileServing } from "./while-serving.ts";

/** An address, and the client to it. */
export interface BackendAddress {
  /** Host and port, for logs and readiness. */
  readonly name: string;
  readonly breaker: AddressBreaker;
  readonly agent: Client<typeof AgentService>;
  readonly knowledge: Client<typeof KnowledgeService>;
  /** Rejects when the address does not serve, or does not say so before the signal aborts. */
  readonly check: (signal: AbortSignal) => Promise<void>;
}

/** A stream whose first event, or whose end, has come. */
export interface OpenStream {
  readonly address: BackendAddress;
  readonly first: IteratorResult<A2AMessage, unknown>;
  readonly rest: AsyncIterator<A2AMessage>;
  /** Ends the call on the wire. */
  close(): void;
}

/** A call that can be ended by a signal of its own. */
type WithOptions<Result> = (options: CallOptions) => Result;

/** Makes the options of a call that ends with this signal at the latest. */
type OptionsFor = (signal: AbortSignal) => Promise<CallOptions>;

/** The answer; a call without one is ended when its address stops serving. */
export async function answerOf<Result>(
  address: BackendAddress,
  optionsFor: OptionsFor,
  run: WithOptions<Promise<Result>>,
): Promise<Result> {
  const abort = new AbortController();
  const options = await optionsFor(abort.signal);
  return whileServing({ check: address.check, end: () => abort.abort(), answer: run(options) });
}

/**
 * The stream, once its first event is there.
 *
 * @param mayBeEmpty whether a stream that ends without an event is an answer; otherwise it is a failure
 */
export async function openStream(
  address: BackendAddress,
  optionsFor: OptionsFor,
  run: WithOptions<AsyncIterable<A2AMessage>>,
  mayBeEmpty: boolean,
): Promise<OpenStream> {
  // Leaving the iteration does not end a call; only its signal does.
  const abort = new AbortController();
  const rest = run(await optionsFor(abort.signal))[Symbol.asyncIterator]();
  const close = () => {
    abort.abort();
    // Connect clears its deadline timer when it is next asked for an event.
    rest.next().catch(() => {});
  };
  try {
    const answer = rest.next();
    const first = await whileServing({ check: address.check, end: () => abort.abort(), answer });
    if (first.done && !mayBeEmpty)
      throw new ConnectError("the stream ended without an event", Code.Unavailable);
    return { address, first, rest, close };
  } catch (error) {
    close();
    throw error;
  }
}
