/** What a model is asked, from what was sent. */
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { questionText } from "../../../backend/agents/question-text.ts";
import { envelopeFromJsonText, requireContent } from "../../../core/messages/envelope.ts";
import { ContentSchema } from "../../../proto/gen/parley/v1/agent_service_pb.js";

describe("questionText", () => {
  it("has text parts as they are and data parts as JSON", () => {
    const parts = [{ text: "Sum these:" }, { data: { numbers: [1, 2.5], unit: null } }];
    const message = envelopeFromJsonText(JSON.stringify({ receiverId: "a", content: { parts } }));
    expect(questionText(requireContent(message))).toBe('Sum these:\n{"numbers":[1,2.5],"unit":null}');
  });

  it("is empty for a content of files only", () => {
    const file = { content: { case: "raw" as const, value: new Uint8Array([1]) } };
    expect(questionText(create(ContentSchema, { parts: [file] }))).toBe("");
  });
});
