/**
 * What one message has cost its caller, as far as who follows its reply gets to know it, settled once:
 *
 * - sent before, and so charged before: nothing;
 * - answered, or failed with a word on its cost: what the reply, or the failure, says;
 * - failed without one: the prompt and the text that came, or nothing when none came;
 * - nobody knows, because whoever followed the reply had to leave it: all that was reserved stays charged, or what came
 *   if that is more.
 */
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { ParleyError } from "../errors/parley-error.ts";
import { deltaTextsOf } from "../messages/joined-deltas.ts";
import type { Reservation } from "./admission.ts";
import { tokensOfMessage, tokensOfText, tokensUsed, usageTokens } from "./estimate-tokens.ts";

/** Follows the events of a reply, and settles its reservation. */
export class ReplyCharge {
  readonly #reservation: Reservation;
  readonly #promptTokens: number;
  readonly #inBackground: (work: Promise<unknown>) => void;
  /** Whether somebody follows the reply to its end, whoever else leaves. */
  isFollowed = false;
  #tokensSeen = 0;

  constructor(reservation: Reservation, message: A2AMessage, inBackground: (work: Promise<unknown>) => void) {
    this.#reservation = reservation;
    this.#promptTokens = tokensOfMessage(message);
    this.#inBackground = inBackground;
  }

  /** The message had been sent before: it costs once, and not here. */
  wasKnown(): void {
    this.#settle(0);
  }

  /** Sees an event of the reply; the last one settles. */
  note(event: A2AMessage): void {
    const { body } = event;
    // What came before belongs to a model that failed: that is not the caller's to pay.
    if (body.case === "restart") this.#tokensSeen = 0;
    for (const text of deltaTextsOf(event) ?? []) this.#tokensSeen += tokensOfText(text);
    if (body.case === "content") this.#settle(tokensUsed(event));
    else if (body.case === "error" || body.case === "status") {
      this.#settle(usageTokens(event.metadata?.["usage"]) ?? this.#known());
    }
  }

  /** There will be no reply. */
  fail({ code, details }: ParleyError): void {
    const tokens = usageTokens(details?.["usage"]);
    if (tokens !== undefined) this.#settle(tokens);
    else if (code === "canceled" || code === "deadline_exceeded") this.#abandon();
    else this.#settle(this.#known());
  }

  /** The caller waits no more; nothing happens when the reply is followed without it, or has been settled. */
  leave(): void {
    if (!this.isFollowed) this.#abandon();
  }

  #abandon(): void {
    this.#settle(Math.max(this.#reservation.tokens, this.#known()));
  }

  #known(): number {
    return this.#tokensSeen === 0 ? 0 : this.#promptTokens + this.#tokensSeen;
  }

  #settle(tokens: number): void {
    this.#inBackground(this.#reservation.settle(tokens));
  }
}
