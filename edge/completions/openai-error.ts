/** The closed error set in OpenAI's form: the table of this wire. */
import type { ErrorCode, JsonValue, ParleyError } from "../../core/errors/parley-error.ts";

interface OpenaiError {
  type: string;
  code?: string;
  codeElse?: string;
}

/** `type` and `code` of OpenAI's errors by our code; without a `code`, our reason is it, or else `codeElse`. */
const OPENAI_ERROR = {
  invalid_argument: { type: "invalid_request_error" },
  unauthenticated: { type: "invalid_request_error", code: "invalid_api_key" },
  permission_denied: { type: "invalid_request_error", code: "insufficient_permissions" },
  not_found: { type: "invalid_request_error", codeElse: "model_not_found" },
  conflict: { type: "invalid_request_error", code: "conflict" },
  resource_exhausted: { type: "requests", code: "rate_limit_exceeded" },
  failed_precondition: { type: "invalid_request_error" },
  canceled: { type: "invalid_request_error", code: "canceled" },
  deadline_exceeded: { type: "server_error", code: "timeout" },
  unavailable: { type: "server_error" },
  unimplemented: { type: "invalid_request_error" },
  internal: { type: "server_error" },
} as const satisfies Record<ErrorCode, OpenaiError>;

/** Reasons that OpenAI has a word of its own for. */
const CODES: Readonly<Record<string, string>> = {
  "content-policy": "content_policy_violation",
  "context-window": "context_length_exceeded",
};

/** Limits of tokens have a type of their own. */
const TOKEN_LIMIT_REASONS: readonly (string | undefined)[] = ["token-limit", "tenant-token-limit"];

/** The body of an error under `/v1/`. */
export interface OpenaiErrorBody {
  error: {
    message: string;
    type: string;
    param: string | null;
    code: string | null;
    /** What OpenAI's form has no field for, such as the agent's preset reply. */
    details?: { [key: string]: JsonValue };
  };
}

/** @param error never its cause or stack; its `details.param` is the parameter at fault */
export function openaiErrorBody({ code, message, reason, details }: ParleyError): OpenaiErrorBody {
  const { param, ...others } = details ?? {};
  const own: OpenaiError = OPENAI_ERROR[code];
  return {
    error: {
      message,
      type: TOKEN_LIMIT_REASONS.includes(reason) ? "tokens" : own.type,
      param: typeof param === "string" ? param : null,
      code: own.code ?? codeOf(reason) ?? own.codeElse ?? null,
      ...(Object.keys(others).length > 0 && { details: others }),
    },
  };
}

function codeOf(reason: string | undefined): string | undefined {
  return reason && (CODES[reason] ?? reason.replaceAll("-", "_"));
}

/** Whether a path is part of the OpenAI-compatible surface, whose errors have this form. */
export function isOpenaiPath(path: string): boolean {
  return path === "/v1" || path.startsWith("/v1/");
}
