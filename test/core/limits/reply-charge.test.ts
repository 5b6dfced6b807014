/** What a caller pays of a reply that took several models. */
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import type { Reservation } from "../../../core/limits/admission.ts";
import { ReplyCharge } from "../../../core/limits/reply-charge.ts";
import { textContent } from "../../../core/messages/envelope.ts";
import { type A2AMessage, A2AMessageSchema } from "../../../proto/gen/parley/v1/agent_service_pb.js";

const event = (body: object, fields: object = {}) => create(A2AMessageSchema, { body, ...fields } as object);
const delta = (text: string) => event({ case: "delta", value: text });
const RESTART = event({ case: "restart", value: { discardAfterSequence: 1, reason: "truncated" } });
const ERROR = event({ case: "error", value: { code: "unavailable", message: "gone" } });

/** What is charged in the end; the question is two tokens long. */
function charged(...events: A2AMessage[]): number | undefined {
  let settled: number | undefined;
  const reservation = {
    tokens: 500,
    settle: async (tokens: number) => {
      settled ??= tokens;
    },
  };
  const question = event({ case: "content", value: textContent("12345678") });
  const charge = new ReplyCharge(reservation as unknown as Reservation, question, () => {});
  for (const one of events) charge.note(one);
  return settled;
}

describe("a caller pays", () => {
  it("for the model that answered, whatever others said before it failed", () => {
    const usage = { inputTokens: 3, outputTokens: 4 };
    const reply = event({ case: "content", value: textContent("fine") }, { metadata: { usage } });
    expect(charged(delta("x".repeat(4_000)), RESTART, delta("fine"), reply)).toBe(7);
  });

  it("nothing for text that was taken back when none came after it", () => {
    expect(charged(delta("x".repeat(400)), RESTART, ERROR)).toBe(0);
  });

  it("for the text that came since it was taken back, when the answer fails after it", () => {
    expect(charged(delta("x".repeat(400)), RESTART, delta("x".repeat(40)), ERROR)).toBe(12);
  });

  it("for text that a backend has put together as for its pieces", () => {
    const pieces = ["x".repeat(40), "y".repeat(40)];
    const together = event({ case: "deltas", value: { texts: pieces } });
    expect(charged(together, ERROR)).toBe(22);
    expect(charged(...pieces.map(delta), ERROR)).toBe(22);
  });

  it("nothing for the preset reply", () => {
    const usage = { inputTokens: 0, outputTokens: 0 };
    const reply = event({ case: "content", value: textContent("Later.") }, { metadata: { usage } });
    expect(charged(delta("Later."), reply)).toBe(0);
  });
});
