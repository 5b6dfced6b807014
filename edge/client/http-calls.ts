/** The client's calls by HTTP: a whole reply, a stream that goes on where it broke, a ticket for a session. */
import { backoffMs, waitOrOnline } from "./backoff.ts";
import { aborted, ClientError, type ErrorBody, unreachable } from "./client-error.ts";
import type { IncomingMessage, OutgoingMessage } from "./message.ts";
import { readEvents } from "./server-sent-events.ts";
import { endedWithout, type Turn } from "./turn.ts";

const MESSAGE_PATH = "/api/v1/a2a/message";
const TASKS_PATH = "/api/v1/a2a/tasks";
const SESSIONS_PATH = "/api/v1/a2a/sessions";

/** Attempts in a row that bring no event; with the backoff, some minutes. */
const ATTEMPTS_MAX = 20;

/** A key or a token, or whoever has a fresh one. */
export type Credential = string | (() => string | Promise<string>);

/** What `POST /api/v1/a2a/sessions` answers, as far as it is needed. */
export interface Admission {
  readonly sessionId: string;
  readonly path: string;
  readonly ticket: string;
  readonly resumeToken: string;
}

/** What the calls touch. */
export interface HttpCallsOptions {
  readonly url: string;
  readonly credential: Credential | undefined;
  readonly fetch: typeof fetch;
  readonly random: () => number;
}

/** See above. Every failure is a {@link ClientError}. */
export class HttpCalls {
  readonly #options: HttpCallsOptions;

  constructor(options: HttpCallsOptions) {
    this.#options = options;
  }

  /** Whether there is a credential to call with. */
  get available(): boolean {
    return this.#options.credential !== undefined;
  }

  async send(message: OutgoingMessage, signal?: AbortSignal): Promise<IncomingMessage> {
    return json(await this.#call("POST", MESSAGE_PATH, { body: message, signal }));
  }

  async admit(sessionId: string | undefined, signal: AbortSignal): Promise<Admission> {
    return json(await this.#call("POST", SESSIONS_PATH, { body: sessionId ? { sessionId } : {}, signal }));
  }

  async cancel(taskId: string, reason: string): Promise<void> {
    const path = `${TASKS_PATH}/${encodeURIComponent(taskId)}/cancel`;
    const response = await this.#call("POST", path, { body: { reason } });
    await response.body?.cancel();
  }

  /**
   * Brings the turn its events until it has ended. `message` begins it, and is sent again under its id for as long
   * as no task is known.
   */
  async follow(turn: Turn, signal: AbortSignal, message?: OutgoingMessage): Promise<void> {
    let failures = 0;
    while (!turn.ended && !signal.aborted) {
      const before = turn.sequence;
      let wantedMs = 0;
      try {
        if (await this.#followOnce(turn, signal, message)) continue;
      } catch (error) {
        const failure = error instanceof ClientError ? error : unreachable(error);
        if (signal.aborted) return;
        // Whose budget is used up is told so, rather than waiting for it; a turn that has begun costs nothing more.
        const isRefused = failure.code === "resource_exhausted" && turn.taskId === undefined;
        if (isRefused || !failure.retryable || failures >= ATTEMPTS_MAX) return turn.fail(failure);
        wantedMs = (failure.retryAfterSeconds ?? 0) * 1_000;
      }
      failures = turn.sequence > before ? 0 : failures + 1;
      if (failures > ATTEMPTS_MAX) return turn.fail(unreachable(undefined));
      if (turn.ended) return;
      await waitOrOnline(Math.max(wantedMs, backoffMs(failures, this.#options.random)), signal);
    }
  }

  /** Whether the turn has ended. */
  async #followOnce(turn: Turn, signal: AbortSignal, message?: OutgoingMessage): Promise<boolean> {
    const headers: Record<string, string> = { accept: "text/event-stream" };
    if (turn.sequence > 0) headers["last-event-id"] = String(turn.sequence);
    const response =
      message && turn.taskId === undefined
        ? await this.#call("POST", MESSAGE_PATH, { body: message, headers, signal })
        : await this.#call("GET", `${TASKS_PATH}/${encodeURIComponent(turn.taskId ?? "")}/events`, {
            headers,
            signal,
          });
    if (response.status === 204 || !response.body) {
      await this.#readEnd(turn, signal);
      return turn.ended;
    }
    for await (const data of readEvents(response.body)) turn.apply(JSON.parse(data));
    return turn.ended;
  }

  /** There are no more events, and the turn has not seen its end among them: the task itself says how it ended. */
  async #readEnd(turn: Turn, signal: AbortSignal): Promise<void> {
    const path = `${TASKS_PATH}/${encodeURIComponent(turn.taskId ?? "")}`;
    const { status, artifacts } = await json<TaskBody>(await this.#call("GET", path, { signal }));
    const [reply] = artifacts ?? [];
    if (!reply) return turn.fail(endedWithout(status?.state ?? "unknown"));
    const { artifactId = "", parts = [] } = reply;
    turn.apply({
      messageId: artifactId,
      inReplyTo: turn.messageId,
      content: { parts },
      text: parts.map(({ text = "" }) => text).join(""),
    });
  }

  async #call(
    method: string,
    path: string,
    { body, headers = {}, signal }: CallOptions = {},
  ): Promise<Response> {
    if (signal?.aborted) throw aborted(signal);
    const { url, credential, fetch } = this.#options;
    if (credential === undefined) {
      throw new ClientError({
        code: "failed_precondition",
        message: "calls by HTTP need a credential; give one to createClient",
      });
    }
    const token = typeof credential === "string" ? credential : await credential();
    let response: Response;
    try {
      response = await fetch(url + path, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body !== undefined && { "content-type": "application/json" }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        ...(signal && { signal }),
      });
    } catch (error) {
      throw signal?.aborted ? aborted(signal) : unreachable(error);
    }
    if (!response.ok) throw await failureOf(response);
    return response;
  }
}

/** A task as it stands, as far as a turn's end is in it. */
interface TaskBody {
  status?: { state?: string };
  artifacts?: { artifactId?: string; parts?: { text?: string }[] }[];
}

interface CallOptions {
  body?: object;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

async function json<T>(response: Response): Promise<T> {
  try {
    return (await response.json()) as T;
  } catch (error) {
    throw unreachable(error);
  }
}

async function failureOf(response: Response): Promise<ClientError> {
  const body = (await response.json().catch(() => undefined)) as { error?: ErrorBody } | undefined;
  const error = body?.error;
  if (typeof error?.code === "string") return new ClientError(error);
  const code = response.status >= 500 ? "unavailable" : "internal";
  return new ClientError({ code, message: `the gateway answered ${response.status}` });
}
