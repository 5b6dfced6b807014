/** What a model is asked, from what was sent. */
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { questionText } from "../../../backend/agents/question-text.ts";
import { createMemoryConversationMemory } from "../../../backend/stores/memory-conversation-memory.ts";
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

describe("the memory of conversations", () => {
  const key = { tenantId: "acme", contextId: "c" };
  const load = (memory: ReturnType<typeof createMemoryConversationMemory>) =>
    memory.load(key, new AbortController().signal);

  it("keeps the conversation when one answer is longer than all it may keep", async () => {
    const memory = createMemoryConversationMemory();
    await memory.append(key, [
      { role: "user", text: "Tell me everything." },
      { role: "assistant", text: "x".repeat(50_000) },
    ]);
    const turns = await load(memory);
    expect(turns.map(({ role }) => role)).toEqual(["user", "assistant"]);
    expect(turns[1]?.text).toHaveLength(16_000);
  });

  it("begins with a question, and keeps the newest turns within its limits", async () => {
    const memory = createMemoryConversationMemory();
    for (let turn = 0; turn < 80; turn++) {
      await memory.append(key, [
        { role: "user", text: `question ${turn}` },
        { role: "assistant", text: `answer ${turn}` },
      ]);
    }
    const turns = await load(memory);
    expect(turns).toHaveLength(100);
    expect(turns[0]).toEqual({ role: "user", text: "question 30" });
    expect(turns.at(-1)?.text).toBe("answer 79");
  });

  it("forgets the conversation used longest ago when there are too many", async () => {
    const memory = createMemoryConversationMemory();
    await memory.append(key, [{ role: "user", text: "first" }]);
    for (let other = 0; other < 1_000; other++) {
      await memory.append({ ...key, contextId: `c${other}` }, [{ role: "user", text: "x" }]);
    }
    expect(await load(memory)).toEqual([]);
  });
});
