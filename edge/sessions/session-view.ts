/** What clients are told of a session's bounds, and what a new client is given. */
import { FRAMES_PER_SECOND_MAX, SOCKETS_MAX, TURNS_IN_FLIGHT_MAX } from "./session-limits.ts";

/** The bounds that a client has to keep to. */
export function clientLimits(frameBytesMax: number) {
  return {
    frameBytesMax,
    framesPerSecondMax: FRAMES_PER_SECOND_MAX,
    turnsInFlightMax: TURNS_IN_FLIGHT_MAX,
    socketsMax: SOCKETS_MAX,
  };
}

/** The answer of `POST /api/v1/a2a/sessions`, but for what the route itself knows. */
export interface SessionAdmission {
  readonly sessionId: string;
  readonly ticket: string;
  readonly ticketExpiresInSeconds: number;
  readonly resumeToken: string;
  readonly resumeExpiresInSeconds: number;
}
