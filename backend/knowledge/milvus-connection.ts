/**
 * A connection to Milvus that cannot bring the process down or hang: the SDK is loaded when first needed, each call
 * has a deadline, and a failure, which the SDK mostly returns instead of throwing it, is thrown as ours.
 */
import type { MilvusClient } from "@zilliz/milvus2-sdk-node";
import { abortable } from "../../core/directory/abortable.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";

/** A call that takes longer is of no use to an answer. */
const CALL_TIMEOUT_MS = 5_000;
/** Of calls that no answer waits for: Milvus Lite writes nothing for 5 s while it merges 30,000 rows. */
export const WORK_TIMEOUT_MS = 30_000;
/** Calls at once, all callers together; the SDK opens them lazily. More wait {@link ACQUIRE_TIMEOUT_MS}. */
const CALLS_MAX = 64;
const ACQUIRE_TIMEOUT_MS = 2_000;
/** A server that is back is noticed within this time. */
const RECONNECT_BACKOFF_MS = 2_000;

/** Where Milvus is. */
export interface MilvusConnectionOptions {
  /** `host:port`, or `https://…` for TLS. */
  readonly address: string;
  /** `user:password` or an API key; a secret. */
  readonly token: string | undefined;
}

/** What the SDK answers to every call; `{}` when the server does not know the call. */
interface Answer {
  readonly status?: { readonly error_code?: unknown; readonly reason?: unknown };
  readonly error_code?: unknown;
  readonly reason?: unknown;
}

type Sdk = typeof import("@zilliz/milvus2-sdk-node");

/** Builds a request and sends it; `timeout` must be in the request. */
export type MilvusCall<T> = (client: MilvusClient, timeout: number, sdk: Sdk) => Promise<T>;

/** See the file's comment. */
export class MilvusConnection {
  readonly #options: MilvusConnectionOptions;
  #opening: Promise<{ client: MilvusClient; sdk: Sdk }> | undefined;

  constructor(options: MilvusConnectionOptions) {
    this.#options = options;
  }

  /**
   * Makes a call and checks its status.
   *
   * @throws ParleyError `unavailable`; the server's words are its cause
   */
  async call<T extends object>(
    make: MilvusCall<T>,
    signal: AbortSignal,
    timeoutMs = CALL_TIMEOUT_MS,
  ): Promise<T> {
    signal.throwIfAborted();
    try {
      const { client, sdk } = await abortable(this.#open(), signal);
      const answer = await abortable(make(client, timeoutMs, sdk), signal);
      const { status, ...outer } = answer as Answer;
      const { error_code: code, reason } = status ?? outer;
      if (code !== "Success") throw new Error(`Milvus answered ${String(code)}: ${String(reason)}`);
      return answer;
    } catch (error) {
      throw error instanceof ParleyError ? error : milvusUnavailable(error);
    }
  }

  async close(): Promise<void> {
    const opened = await this.#opening?.catch(() => undefined);
    await opened?.client.closeConnection();
  }

  #open(): Promise<{ client: MilvusClient; sdk: Sdk }> {
    this.#opening ??= connect(this.#options).catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }
}

/** Loads 72 MB of packages, so only where Milvus is configured. */
async function connect({ address, token }: MilvusConnectionOptions) {
  const sdk = await import("@zilliz/milvus2-sdk-node");
  const client = new sdk.MilvusClient({
    address,
    ...(token === undefined ? {} : { token }),
    timeout: CALL_TIMEOUT_MS,
    // The SDK's retry of a status that the server returned never sends the request's end, and hangs.
    maxRetries: 0,
    logLevel: "error",
    // It reports home to the server every 10 s, and takes commands from it.
    telemetry: { enabled: false },
    pool: { min: 1, max: CALLS_MAX, acquireTimeoutMillis: ACQUIRE_TIMEOUT_MS },
    channelOptions: { "grpc.max_reconnect_backoff_ms": RECONNECT_BACKOFF_MS },
  });
  // Nobody waits for it, and its rejection would end the process. The calls find out for themselves.
  client.connectPromise.catch(() => undefined);
  return { client, sdk };
}

/** The error for a Milvus that does not do what it was asked. */
export function milvusUnavailable(cause: unknown): ParleyError {
  return new ParleyError("unavailable", "the knowledge index cannot be reached at the moment", {
    reason: "index-unavailable",
    retryable: true,
    cause,
  });
}
