/** The HTTP table of the closed error set, and the JSON body that carries an error over HTTP. */
import type { ErrorCode, JsonValue, ParleyError } from "./parley-error.ts";

/** HTTP status by code; 499 is the field's convention for a request that its client canceled. */
export const HTTP_STATUS = {
  invalid_argument: 400,
  unauthenticated: 401,
  permission_denied: 403,
  not_found: 404,
  conflict: 409,
  resource_exhausted: 429,
  failed_precondition: 400,
  canceled: 499,
  deadline_exceeded: 504,
  unavailable: 503,
  unimplemented: 501,
  internal: 500,
} as const satisfies Record<ErrorCode, number>;

/** Where HTTP has a more exact status for a reason than for its code. */
const HTTP_STATUS_BY_REASON: Readonly<Record<string, number>> = {
  "body-too-large": 413,
  "unsupported-media-type": 415,
  "method-not-allowed": 405,
  "version-mismatch": 412,
  "upgrade-required": 426,
};

/** The body of every HTTP error. */
export interface ErrorBody {
  error: {
    code: ErrorCode;
    message: string;
    requestId: string;
    reason?: string;
    retryAfterSeconds?: number;
    details?: { [key: string]: JsonValue };
  };
}

/** The status that an error leaves with. */
export function httpStatusOf(error: ParleyError): number {
  return (error.reason && HTTP_STATUS_BY_REASON[error.reason]) || HTTP_STATUS[error.code];
}

/** Whole seconds for `Retry-After`, rounded up; undefined when the error names no time. */
export function retryAfterSecondsOf(error: ParleyError): number | undefined {
  return error.retryAfterMs === undefined ? undefined : Math.max(1, Math.ceil(error.retryAfterMs / 1000));
}

/** The JSON body of an error; never contains its cause or stack. */
export function errorBody(error: ParleyError, requestId: string): ErrorBody {
  const retryAfterSeconds = retryAfterSecondsOf(error);
  return {
    error: {
      code: error.code,
      message: error.message,
      requestId,
      ...(error.reason === undefined ? {} : { reason: error.reason }),
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
      ...(error.details === undefined ? {} : { details: error.details }),
    },
  };
}
