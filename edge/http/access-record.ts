/**
 * What becomes known of one request, for its line in the log. Never credentials, never content: causes of
 * refused input quote the input and are left out; causes of our own failures are kept.
 */
import { httpStatusOf } from "../../core/errors/http-errors.ts";
import { type ErrorCode, type ParleyError, toParleyError } from "../../core/errors/parley-error.ts";
import { LOG_LEVELS, type LogLevel } from "../env.ts";

/** Causes of causes are followed this far. */
const CAUSES_MAX = 5;
const TEXT_CHARACTERS_MAX = 2_000;

/** What the steps of a request add to its line. */
export interface AccessFields {
  tenantId: string;
  subject: string;
  keyId: string;
  /** Why a credential was refused; callers are never told. */
  authFailure: string;
  /** `receiver_id` as the caller gave it, at most 128 characters of it. */
  receiver: string;
  agentId: string;
  sessionId: string;
  /** The backend address that was called last, and how many calls there were. */
  backend: string;
  attempts: number;
  model: string;
  degraded: string;
  /** Which limiter decided. */
  limiter: string;
  /** Dependencies that a readiness check found failing. */
  failing: string[];
}

/** Whether the texts of an error go into the log. Those of refused input would carry content there. */
const TEXTS_ARE_LOGGED = {
  invalid_argument: false,
  unauthenticated: false,
  permission_denied: false,
  not_found: false,
  conflict: false,
  resource_exhausted: true,
  failed_precondition: false,
  canceled: false,
  deadline_exceeded: true,
  unavailable: true,
  unimplemented: true,
  internal: true,
} as const satisfies Record<ErrorCode, boolean>;

/** One request's part of the log; steps add to it, the end of the request writes it. */
export class AccessRecord {
  /** The least level that is written; the configuration sets it as soon as it is known. */
  threshold: LogLevel;
  #fields: Partial<AccessFields> = {};
  #error: ParleyError | undefined;

  constructor(threshold: LogLevel) {
    this.threshold = threshold;
  }

  /** Adds what a step found out; a later value replaces an earlier one. */
  add(fields: Partial<AccessFields>): void {
    this.#fields = { ...this.#fields, ...fields };
  }

  /** Says that the request failed; also for a stream that failed after its status had been sent. */
  fail(error: unknown): void {
    this.#error = toParleyError(error);
  }

  /** The level and fields of the line, or undefined when the threshold is above it. */
  fieldsFor(status: number): { level: LogLevel; fields: object } | undefined {
    const level = levelOf(status, this.#error);
    if (LOG_LEVELS.indexOf(level) < LOG_LEVELS.indexOf(this.threshold)) return undefined;
    return {
      level,
      fields: { ...this.#fields, ...(this.#error && describeError(this.#error)) },
    };
  }
}

/** By the status that the error has, or would have had if the answer had not begun before it. */
function levelOf(status: number, error: ParleyError | undefined): LogLevel {
  return (error ? httpStatusOf(error) : status) >= 500 ? "error" : "info";
}

/** `code` and `reason` as callers see them; `err` as pino has it in the backend's log: what was behind them. */
function describeError(error: ParleyError): object {
  const { code, reason } = error;
  if (!TEXTS_ARE_LOGGED[code]) return { code, reason };
  const causes = causesOf(error);
  const message = causes.length > 0 ? causes.map(describeCause).join(" < ") : error.message;
  const stack = code === "internal" ? (causes.find(isError) ?? error).stack : undefined;
  return { code, reason, err: { message: cut(message), ...(stack && { stack: cut(stack) }) } };
}

function causesOf(error: Error): unknown[] {
  const causes: unknown[] = [];
  let cause = error.cause;
  while (cause !== undefined && cause !== null && causes.length < CAUSES_MAX) {
    causes.push(cause);
    cause = isError(cause) ? cause.cause : undefined;
  }
  return causes;
}

function describeCause(cause: unknown): string {
  return isError(cause) ? `${cause.name}: ${cause.message}` : String(cause);
}

function isError(value: unknown): value is Error {
  return value instanceof Error;
}

function cut(text: string): string {
  return text.length > TEXT_CHARACTERS_MAX ? `${text.slice(0, TEXT_CHARACTERS_MAX)}…` : text;
}
