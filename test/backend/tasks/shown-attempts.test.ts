/** Who is told which models were called for a reply. */
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import type { AgentRunner } from "../../../backend/agents/agent-runner.ts";
import type { Principal } from "../../../core/auth/principal.ts";
import { PartSchema } from "../../../proto/gen/lf/a2a/v1/a2a_pb.js";
import { ann, createEngine, createRecorder, eventsOf, request } from "./engine-fixture.ts";

const runner: AgentRunner = {
  async *answer({ onAttempt }) {
    onAttempt({ model: "openai/a", outcome: "rate-limited", startedAfterMs: 0.2, durationMs: 10.4 });
    onAttempt({
      model: "openai/b",
      outcome: "answered",
      startedAfterMs: 12.6,
      durationMs: 20,
      firstTokenMs: 5.1,
      usage: { inputTokens: 3, outputTokens: 4, estimated: true },
    });
    const part = create(PartSchema, { content: { case: "text", value: "fine" } });
    yield { type: "finish", parts: [part], metadata: { model: "openai/b" }, record: { model: "openai/b" } };
  },
};

async function repliedTo(principal: Principal) {
  const recorder = createRecorder();
  const answer = recorder.answer.bind(recorder);
  const logged: unknown[] = [];
  recorder.answer = async (task, reply, ...rest) => {
    logged.push(structuredClone(reply.metadata));
    await answer(task, reply, ...rest);
  };
  const engine = createEngine(runner, { recorder });
  const events = await eventsOf(await engine.accept(request("hi", {}, principal)));
  return { metadata: events.at(-1)?.metadata, logged };
}

describe("the attempts that a reply took", () => {
  it("are in its metadata for a caller with the scope, and not in what is recorded of the reply", async () => {
    const { metadata, logged } = await repliedTo({ ...ann, scopes: [...ann.scopes, "attempts:read"] });
    expect(metadata).toEqual({
      model: "openai/b",
      attempts: [
        { model: "openai/a", outcome: "rate-limited", startedAfterMs: 0, durationMs: 10 },
        {
          model: "openai/b",
          outcome: "answered",
          startedAfterMs: 13,
          durationMs: 20,
          firstTokenMs: 5,
          usage: { inputTokens: 3, outputTokens: 4, estimated: true },
        },
      ],
    });
    expect(logged).toEqual([{ model: "openai/b" }]);
  });

  it("are not told to anybody else", async () => {
    expect((await repliedTo(ann)).metadata).toEqual({ model: "openai/b" });
  });
});
