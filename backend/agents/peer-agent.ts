/**
 * Answers for agents of kind peer, who connect to the edge: hands the message to the edge over its internal route and
 * waits for the peer's reply as long as the turn has time. The message waits for the peer there, not here.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import {
  BACKEND_TOKEN_HEADER,
  importBackendTokenSecret,
  signBackendToken,
} from "../../core/auth/backend-token.ts";
import type { ErrorBody } from "../../core/errors/http-errors.ts";
import { isErrorCode, ParleyError } from "../../core/errors/parley-error.ts";
import { envelopeFromJsonText, envelopeToJson } from "../../core/messages/envelope.ts";
import { PEER_MESSAGES_PATH, TIMEOUT_HEADER } from "../../core/messages/internal-routes.ts";
import { REQUEST_ID_HEADER } from "../../core/messages/request-id.ts";
import type { AgentEvent, AgentRunner, AgentTurn } from "./agent-runner.ts";

/** What replies of peers name as the model, in the durable log. */
const PEER_MODEL = "peer";

/** Where the edge is, and how it knows this backend. */
export interface PeerAgentOptions {
  /** Undefined where none is configured: peers cannot be reached then. */
  readonly edgeUrl: string | undefined;
  readonly tokenSecret: string | undefined;
  readonly fetch: typeof globalThis.fetch;
  /** Unix epoch, milliseconds. */
  readonly now: () => number;
}

/** The runner for all peers; it has no state but the key. */
export function createPeerAgent({ edgeUrl, tokenSecret, fetch, now }: PeerAgentOptions): AgentRunner {
  const url = edgeUrl && new URL(PEER_MESSAGES_PATH, edgeUrl);
  const key = tokenSecret === undefined ? undefined : importBackendTokenSecret(tokenSecret);
  key?.catch(() => {});
  return {
    async *answer(turn, signal) {
      if (!url || !key || !turn.sent) throw notConfigured();
      const { message, subject } = turn.sent;
      const { tenantId } = turn.agent;
      const principal = { tenantId, subject, scopes: ["messages:send"], keyId: "" };
      const token = await signBackendToken(
        await key,
        { principal, requestId: turn.requestId },
        now(),
        "to-edge",
      );
      const answer = await fetch(url, {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          [BACKEND_TOKEN_HEADER]: token,
          [REQUEST_ID_HEADER]: turn.requestId,
          [TIMEOUT_HEADER]: String(Math.ceil(turn.deadline.remainingMsOrThrow())),
        },
        body: JSON.stringify(envelopeToJson(message)),
        signal,
      }).catch((cause: unknown) => {
        throw signal.aborted ? signal.reason : unreachable(cause);
      });
      yield finishOf(await answer.text(), answer.ok, turn);
    },
  };
}

function finishOf(text: string, ok: boolean, { agent }: AgentTurn): AgentEvent {
  if (!ok) throw errorOf(text);
  const { body, metadata } = envelopeFromJsonText(text);
  if (body.case !== "content")
    throw new ParleyError("canceled", `the message to "${agent.id}" was taken back`);
  return {
    type: "finish",
    parts: body.value.parts,
    metadata: (metadata ?? {}) as JsonObject,
    record: { model: PEER_MODEL },
  };
}

/** What the edge refuses with is worded for callers already; anything else is not from the edge. */
function errorOf(text: string): ParleyError {
  try {
    const { error } = JSON.parse(text) as ErrorBody;
    const { code, message, reason, details, retryAfterSeconds } = error;
    if (!isErrorCode(code) || code === "unauthenticated") return unreachable(new Error(message));
    return new ParleyError(code, message, {
      ...(reason !== undefined && { reason }),
      ...(details !== undefined && { details }),
      ...(retryAfterSeconds !== undefined && { retryAfterMs: retryAfterSeconds * 1_000 }),
    });
  } catch (cause) {
    return unreachable(cause);
  }
}

function unreachable(cause: unknown): ParleyError {
  return new ParleyError("unavailable", "the peer cannot be reached at the moment; try again", {
    retryable: true,
    retryAfterMs: 1_000,
    cause,
  });
}

function notConfigured(): ParleyError {
  return new ParleyError(
    "failed_precondition",
    "peers can be reached over HTTP and WebSocket only: this backend has no EDGE_URL and BACKEND_TOKEN_SECRET",
  );
}
