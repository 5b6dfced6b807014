/** Why the gateway closes a connection, as clients see it; `docs/sessions.md` says what they do then. */
import type { ErrorCode } from "../../core/errors/parley-error.ts";

/** How a connection is closed, and the error that is sent just before. */
export interface Closing {
  /** Of the WebSocket's close frame; 4000 and up are an application's own (RFC 6455, section 7.4.2). */
  readonly closeCode: number;
  readonly code: ErrorCode;
  /** Kebab-case, in the error's details. */
  readonly reason: string;
  /** Also the close frame's reason: at most 123 bytes. */
  readonly message: string;
}

/** The closing of each cause. */
export const CLOSINGS = {
  positionUnknown: {
    closeCode: 4400,
    code: "invalid_argument",
    reason: "position-unknown",
    message: "`after` is a number that this session never gave; connect again without it",
  },
  credentialEnded: {
    closeCode: 4401,
    code: "unauthenticated",
    reason: "credential-ended",
    message: "the credential behind this session is no longer good",
  },
  tooSlow: {
    closeCode: 4408,
    code: "resource_exhausted",
    reason: "too-slow",
    message: "frames are not being read; reconnect and go on",
  },
  silent: {
    closeCode: 4409,
    code: "canceled",
    reason: "silent",
    message: "nothing was heard for too long; reconnect and go on",
  },
  replaced: {
    closeCode: 4409,
    code: "canceled",
    reason: "replaced",
    message: "this client has opened another connection",
  },
  ended: { closeCode: 4410, code: "not_found", reason: "session-ended", message: "the session has ended" },
  tooManyFrames: {
    closeCode: 4429,
    code: "resource_exhausted",
    reason: "frame-rate",
    message: "far too many frames; wait 30 s and reconnect",
  },
} as const satisfies Record<string, Closing>;

/** One of {@link CLOSINGS}. */
export type CloseCause = keyof typeof CLOSINGS;
