/** What the package `parley-client` exports. */
export { ClientError, type ErrorCode } from "./client-error.ts";
export { type CallOptions, type Client, type ClientOptions, createClient } from "./create-client.ts";
export type { Admission, Credential } from "./http-calls.ts";
export type { IncomingMessage, OutgoingMessage, TurnEvent } from "./message.ts";
export type { Session, SessionListeners, SessionState, TicketProvider } from "./session.ts";
export type { Turn } from "./turn.ts";
