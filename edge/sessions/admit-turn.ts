/** Lets a message of a session in, exactly as a message over HTTP: request limit, sender, receiver, token budgets. */
import { toJsonString } from "@bufbuild/protobuf";
import { hashSecret } from "../../core/auth/api-key.ts";
import { estimateTokens } from "../../core/limits/estimate-tokens.ts";
import type { InBackground } from "../../core/limits/limiter.ts";
import { ReplyCharge } from "../../core/limits/reply-charge.ts";
import { type A2AMessage, A2AMessageSchema } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { Composition } from "../composition.ts";
import { admitMessage } from "../routing/admit-message.ts";
import { type Route, routeMessage } from "../routing/route-message.ts";
import { limitedCaller, type SessionOwner } from "./session-owner.ts";

/** Who sends, and with what it is decided. */
export interface AdmitTurnOptions {
  readonly owner: SessionOwner;
  readonly composition: Pick<Composition, "admission" | "directory">;
  readonly inBackground: InBackground;
  readonly signal: AbortSignal;
}

/** A message that was let in. */
export interface AdmittedTurn {
  /** ProtoJSON of the message, complete. */
  readonly text: string;
  /** Tells whether another message under the same id is the same one. */
  readonly fingerprint: string;
  readonly route: Route;
  readonly charge: ReplyCharge;
}

/** @throws ParleyError as `POST /api/v1/a2a/message` does; then nothing is charged */
export async function admitTurn(message: A2AMessage, options: AdmitTurnOptions): Promise<AdmittedTurn> {
  const { owner, composition, inBackground, signal } = options;
  const { admission, directory } = composition;
  const caller = limitedCaller(owner);
  const counted = await admission.countRequest(caller, inBackground);
  if (counted.refusal) throw counted.refusal;
  const { text, fingerprint } = await completeMessage(message, owner);
  const route = await routeMessage(directory, message, owner.principal, signal);
  const tokens = estimateTokens(message, caller.limits);
  const { reservation, refusal } = await admission.reserveTokens(caller, tokens, inBackground);
  if (refusal) throw refusal;
  return { text, fingerprint, route, charge: new ReplyCharge(reservation, message, inBackground) };
}

/** What {@link admitTurn} makes of a message before it asks anybody: its sender, its text, its fingerprint. */
export async function completeMessage(
  message: A2AMessage,
  { principal }: SessionOwner,
): Promise<Pick<AdmittedTurn, "text" | "fingerprint">> {
  admitMessage(message, principal);
  const text = toJsonString(A2AMessageSchema, message);
  return { text, fingerprint: await hashSecret(text) };
}
