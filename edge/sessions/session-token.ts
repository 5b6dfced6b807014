/**
 * Tickets and resume tokens as clients carry them: `parley.<kind>.<tenant>.<session>.<client>.<secret>`, made of
 * characters that a WebSocket subprotocol may have (RFC 9110, `token`). All but the secret only says where to ask; of
 * the secret the session keeps the SHA-256.
 */
import { generateSecret } from "../../core/auth/api-key.ts";
import { SECRET_CHARACTERS, SESSION_ID_CHARACTERS } from "./session-limits.ts";

/** The subprotocol of this wire. */
export const SUBPROTOCOL = "parley.v1";

/** `ticket` opens one connection, once; `resume` opens the next ones. */
export type SessionTokenKind = "ticket" | "resume";

/** A token, taken apart. */
export interface SessionToken {
  readonly kind: SessionTokenKind;
  readonly tenantId: string;
  readonly sessionId: string;
  readonly clientId: string;
  readonly secret: string;
}

const ID = `[A-Za-z0-9]{${SESSION_ID_CHARACTERS}}`;
/** A tenant's id has dots of its own, and is encoded in hexadecimal digits. */
const TOKEN_PATTERN = new RegExp(
  `^parley\\.(ticket|resume)\\.((?:[0-9a-f]{2}){1,128})\\.(${ID})\\.(${ID})\\.([A-Za-z0-9]{${SECRET_CHARACTERS}})$`,
);
const SESSION_ID_PATTERN = new RegExp(`^${ID}$`);

/** An id for a session or a client: unique and not to be guessed. */
export function newSessionId(): string {
  return generateSecret(randomBytes, SESSION_ID_CHARACTERS);
}

/** Whether a text has the form of a session's id. */
export function isSessionId(text: string): boolean {
  return SESSION_ID_PATTERN.test(text);
}

/** The secret part of a new token: 256 bits. */
export function newSecret(): string {
  return generateSecret(randomBytes, SECRET_CHARACTERS);
}

/** A token as its client gets it. */
export function formatSessionToken({ kind, tenantId, sessionId, clientId, secret }: SessionToken): string {
  const tenant = Array.from(new TextEncoder().encode(tenantId), (byte) => byte.toString(16).padStart(2, "0"));
  return ["parley", kind, tenant.join(""), sessionId, clientId, secret].join(".");
}

/** The parts of a token; undefined for any other text. */
export function parseSessionToken(text: string): SessionToken | undefined {
  const [, kind, tenant, sessionId, clientId, secret] = TOKEN_PATTERN.exec(text) ?? [];
  if (!kind || !tenant || !sessionId || !clientId || !secret) return undefined;
  const bytes = Uint8Array.from(tenant.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
  const tenantId = new TextDecoder().decode(bytes);
  return { kind: kind as SessionTokenKind, tenantId, sessionId, clientId, secret };
}

/** What `Sec-WebSocket-Protocol` offers: whether it has ours, and the token beside it. */
export function readSubprotocols(header: string | null | undefined): {
  offered: boolean;
  spoken: boolean;
  token: string | undefined;
} {
  const protocols = (header ?? "").split(",").map((protocol) => protocol.trim());
  return {
    offered: protocols.some((protocol) => protocol !== ""),
    spoken: protocols.includes(SUBPROTOCOL),
    token: protocols.find((protocol) => /^parley\.(ticket|resume)\./.test(protocol)),
  };
}

function randomBytes(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(bytes);
}
