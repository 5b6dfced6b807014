/**
 * One connection to Redis that never makes its callers wait for long: there is no offline queue, a command has a
 * short time limit, and a server that accepts connections but says nothing is cut off. It knows commands and
 * scripts; what the keys mean is its users' business. Its states:
 *
 * - ready: commands are sent. When nothing at all comes back for the time limit, the connection is dropped and every
 *   command on it fails: `failing`.
 * - failing: commands fail at once. Meanwhile the connection is made again after full-jitter waits; the handshake is
 *   the probe, and its answer is what makes it `ready` again.
 *
 * A command that failed may have been carried out, even later: a server that stood still reads what was sent to it
 * when it goes on. Scripts have to expect that.
 */
import { Redis } from "ioredis";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { fullJitterMs } from "../../core/resilience/full-jitter.ts";
import type { RedisScript } from "./redis-script.ts";

/** A healthy Redis answers in well under a millisecond; this leaves room for a pause and not for an outage. */
const SILENCE_MS = 400;
/** The handshake's time; a server that stood still answers the one that waits as soon as it goes on. */
const HANDSHAKE_TIMEOUT_MS = 2_000;
const CONNECT_TIMEOUT_MS = 1_000;
/** Soon back after a restart, gentle to a server that has to recover. */
const RECONNECT_BACKOFF = { baseMs: 50, capMs: 1_000 };
/** What a caller that has to give up may tell its own caller. */
const RETRY_AFTER_MS = 1_000;

/** Replies that say "not now" rather than "not like this". */
const TEMPORARY_REPLY = /^(LOADING|BUSY|READONLY|OOM|MISCONF|MASTERDOWN|NOREPLICAS|TRYAGAIN|CLUSTERDOWN) /;

/** How the connection fares; `error` is why it fails. */
export type RedisEvent = { readonly state: "ready" } | { readonly state: "failing"; readonly error: unknown };

/** Where to, and who hears of it. */
export interface RedisConnectionOptions {
  /** `redis://` or `rediss://`, with user, password and database where they are needed. */
  readonly url: string;
  /** Shown by CLIENT LIST, e.g. `parley-commands`. */
  readonly name: string;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Told of every change of state, not of every failure. */
  readonly onEvent: (event: RedisEvent) => void;
  /** For a connection that waits in blocking commands: the longest such wait, milliseconds. Default 0. */
  readonly blockMs?: number;
}

/** See above. */
export class RedisConnection {
  readonly #redis: Redis;
  readonly #onEvent: (event: RedisEvent) => void;
  readonly #listeners = new Set<(event: RedisEvent) => void>();
  #state: RedisEvent["state"] | undefined;
  #lastError: unknown;
  readonly #silenceMs: number;
  #unanswered = 0;
  #answers = 0;
  #watchTimer: NodeJS.Timeout | undefined;

  /** Begins to connect; until it has, commands fail like those of a failing connection. */
  constructor({ url, name, random, onEvent, blockMs = 0 }: RedisConnectionOptions) {
    this.#onEvent = onEvent;
    this.#silenceMs = SILENCE_MS + blockMs;
    this.#redis = new Redis(url, {
      connectionName: name,
      connectTimeout: CONNECT_TIMEOUT_MS,
      // No timers of ioredis' own: they take a stall of this process for one of Redis; see `#watch`.
      // A server that stands still does not say goodbye.
      disconnectTimeout: 1,
      enableOfflineQueue: false,
      // A command is never sent twice; whether it may be is known only to its caller.
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (attempt) => fullJitterMs(attempt, RECONNECT_BACKOFF, random),
      // After a failover the connection may lead to a replica.
      reconnectOnError: (error) => error.message.startsWith("READONLY"),
    });
    this.#redis.on("connect", () => this.#watchHandshake());
    this.#redis.on("ready", () => this.#changeTo({ state: "ready" }));
    this.#redis.on("error", (error) => {
      this.#lastError = error;
      if (this.#redis.status !== "ready") this.#changeTo({ state: "failing", error });
    });
    this.#redis.on("close", () => {
      const error = this.#lastError ?? new Error("the connection was closed");
      this.#changeTo({ state: "failing", error });
    });
  }

  /** Whether commands are sent at this moment; while it is false they fail at once. */
  get isReady(): boolean {
    return this.#redis.status === "ready";
  }

  /** Calls `listener` at every change of state from now on; returns what ends that. */
  listen(listener: (event: RedisEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves when it is ready, at once if it is; rejects with the signal's reason. */
  ready(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.isReady) return resolve();
      if (signal.aborted) return reject(signal.reason);
      const end = () => {
        stop();
        signal.removeEventListener("abort", onAbort);
      };
      const onAbort = () => {
        end();
        reject(signal.reason);
      };
      const stop = this.listen(({ state }) => {
        if (state !== "ready") return;
        end();
        resolve();
      });
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  /**
   * Runs commands, one or a pipeline.
   *
   * @throws ParleyError `unavailable` (retryable) when Redis cannot be asked, does not answer in time or says "not
   *   now": the commands may have been carried out. `internal` when it refuses a command.
   */
  async run<T>(commands: (redis: Redis) => Promise<T>): Promise<T> {
    this.#unanswered++;
    this.#watch();
    try {
      return await commands(this.#redis);
    } catch (error) {
      throw this.#translate(error);
    } finally {
      this.#unanswered--;
      this.#answers++;
    }
  }

  /** Runs a script; replies are texts and numbers. Throws as {@link run} does. */
  script(script: RedisScript, keys: readonly string[], args: readonly RedisArgument[]): Promise<unknown> {
    return this.run((redis) =>
      evaluate(script, (command, body) => redis.call(command, body, keys.length, ...keys, ...args)),
    );
  }

  /** Runs a script whose replies are bytes. Throws as {@link run} does. */
  scriptBuffer(
    script: RedisScript,
    keys: readonly string[],
    args: readonly RedisArgument[],
  ): Promise<unknown> {
    return this.run((redis) =>
      evaluate(script, (command, body) => redis.callBuffer(command, body, keys.length, ...keys, ...args)),
    );
  }

  /** Closes it for good; commands on their way fail. */
  close(): void {
    clearTimeout(this.#watchTimer);
    this.#redis.disconnect();
  }

  /**
   * Drops a connection on which commands wait and nothing has come for the time limit. The verdict is given after the
   * sockets have been read once more: when this process itself stood still, the answers are there.
   */
  #watch(): void {
    if (this.#watchTimer) return;
    const answers = this.#answers;
    const judge = () => {
      this.#watchTimer = undefined;
      if (this.#unanswered === 0) return;
      if (this.#answers !== answers) return this.#watch();
      if (!this.isReady) return;
      this.#lastError = new Error(`Redis said nothing for ${this.#silenceMs} ms`);
      this.#redis.disconnect(true);
    };
    this.#watchTimer = setTimeout(() => setImmediate(judge), this.#silenceMs);
    this.#watchTimer.unref();
  }

  #watchHandshake(): void {
    const { stream } = this.#redis;
    const judge = () => {
      if (this.isReady || this.#redis.stream !== stream) return;
      this.#lastError = new Error(`Redis did not shake hands within ${HANDSHAKE_TIMEOUT_MS} ms`);
      this.#redis.disconnect(true);
    };
    const timer = setTimeout(() => setImmediate(judge), HANDSHAKE_TIMEOUT_MS);
    timer.unref();
    stream.once("close", () => clearTimeout(timer));
    this.#redis.once("ready", () => clearTimeout(timer));
  }

  #changeTo(event: RedisEvent): void {
    if (this.#state === event.state) return;
    this.#state = event.state;
    if (event.state === "ready") this.#lastError = undefined;
    this.#onEvent(event);
    for (const listener of this.#listeners) listener(event);
  }

  #translate(error: unknown): ParleyError {
    if (error instanceof ParleyError) return error;
    if (error instanceof Error && error.name === "ReplyError" && !TEMPORARY_REPLY.test(error.message)) {
      return new ParleyError("internal", "internal error; quote the request id when you report it", {
        cause: error,
      });
    }
    return new ParleyError("unavailable", "Redis does not answer", {
      retryable: true,
      retryAfterMs: RETRY_AFTER_MS,
      cause: this.isReady ? error : (this.#lastError ?? error),
    });
  }
}

/** What goes into a command: texts, numbers, bytes. */
export type RedisArgument = string | number | Buffer;

/** By its hash, as Redis most often knows it; else by its text, which makes it known. */
async function evaluate(
  { lua, sha1 }: RedisScript,
  call: (command: "EVALSHA" | "EVAL", body: string) => Promise<unknown>,
): Promise<unknown> {
  try {
    return await call("EVALSHA", sha1);
  } catch (error) {
    if (error instanceof Error && error.message.startsWith("NOSCRIPT")) return call("EVAL", lua);
    throw error;
  }
}
