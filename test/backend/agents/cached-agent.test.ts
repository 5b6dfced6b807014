/** Answers that are given again: to whom, when, at what cost, and never when they should not be. */
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import type { AgentTurn } from "../../../backend/agents/agent-runner.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { textContent } from "../../../core/messages/envelope.ts";
import { PartSchema } from "../../../proto/gen/lf/a2a/v1/a2a_pb.js";
import { agentOf, answers, configOf, setUp, setUpWith, textPart } from "./cached-agent-fixture.ts";

const tick = () => new Promise((resolve) => setTimeout(resolve, 5));

describe("an agent with a cache", () => {
  it("gives the answer again, as pieces and whole, marked and at no cost", async () => {
    const { ask, calls } = setUp(answers("🎉".repeat(3_000)));
    expect((await ask()).isCached).toBe(false);
    const { finish, deltas } = await ask();
    expect(calls()).toBe(1);
    expect(finish.parts).toEqual([textPart("🎉".repeat(3_000))]);
    expect(deltas.length).toBe(2);
    expect(deltas.join("")).toBe("🎉".repeat(3_000));
    const usage = { inputTokens: 0, outputTokens: 0 };
    expect(finish.metadata).toEqual({ model: "openai/m", finishReason: "stop", usage, cached: "exact" });
    expect(finish.record).toEqual({ model: "openai/m", ...usage, usageEstimated: false, cached: "exact" });
  });

  it("forgets the answer when its time is over", async () => {
    const { ask, pass } = setUp(answers("a"));
    await ask();
    pass(60_000);
    expect((await ask()).isCached).toBe(false);
  });

  it("takes questions for the same that differ in nothing a reader sees", async () => {
    const { ask } = setUp(answers("a"));
    await ask({ content: textContent("Caf\u00e9?\nYes.") });
    expect((await ask({ content: textContent("  Cafe\u0301?\r\nYes.\n") })).isCached).toBe(true);
  });

  it.each<[string, Partial<AgentTurn>]>([
    ["tenant", { agent: agentOf({ tenantId: "umbrella" }) }],
    ["agent", { agent: agentOf({ id: "b" }) }],
    ["version of the agent", { agent: agentOf({ version: 2 }) }],
    ["question", { content: textContent("what is a gateway?") }],
    ["instruction", { instructions: "Be brief." }],
    ["sampling", { parameters: { temperature: 0 } }],
  ])("does not give it to another %s", async (_, turn) => {
    const { ask } = setUp(answers("a"));
    await ask();
    expect((await ask(turn)).isCached).toBe(false);
    expect((await ask()).isCached).toBe(true);
  });

  it("does not give it when the names in its chain mean other models now", async () => {
    const { ask, models } = setUp(answers("a"));
    await ask();
    models[0] = "openai/newer";
    expect((await ask()).isCached).toBe(false);
  });

  it.each<[string, Partial<AgentTurn>]>([
    ["in a conversation", { history: [{ role: "user", text: "hi" }] }],
    ["after a summary", { summary: { text: "s", tokens: 1 } }],
    ["when more may have been said", { isHistoryIncomplete: true }],
    [
      "with a file",
      {
        content: {
          ...textContent("What is a gateway?"),
          parts: [
            ...textContent("What is a gateway?").parts,
            create(PartSchema, { content: { case: "url", value: "https://x" } }),
          ],
        },
      },
    ],
  ])("neither gives nor keeps an answer %s", async (_, turn) => {
    const { ask } = setUp(answers("a"));
    await ask(turn);
    expect((await ask(turn)).isCached).toBe(false);
    expect((await ask()).isCached).toBe(false);
    expect((await ask(turn)).isCached).toBe(false);
  });

  it.each([
    ["degraded", answers("later", { degraded: "preset-reply" }, { degraded: "preset-reply" })],
    ["cut off at its limit", answers("half", { finishReason: "length" })],
    ["the builtin model's", answers("quote", {}, { model: "builtin/extractive" })],
  ])("never keeps an answer that is %s", async (_, answer) => {
    const { ask } = setUp(answer);
    await ask();
    expect((await ask()).isCached).toBe(false);
  });

  it.each(["words-only", "unavailable"])("never keeps an answer whose knowledge is %s", async (knowledge) => {
    const { ask } = setUp(answers("half informed", { knowledge }));
    await ask();
    expect((await ask()).isCached).toBe(false);
  });

  it.each(["complete", "nothing-relevant"])("keeps one whose knowledge is %s", async (knowledge) => {
    const { ask } = setUp(answers("informed", { knowledge }));
    await ask();
    expect((await ask()).cached).toBe("exact");
  });

  it("asks once for all who ask the same at the same time", async () => {
    const { ask, calls, gates, gateAll, flights } = setUp(answers("a"));
    gateAll();
    const asked = Array.from({ length: 20 }, () => ask());
    const foreign = ask({ agent: agentOf({ tenantId: "umbrella" }) });
    await tick();
    for (const gate of gates) gate.resolve();
    const got = await Promise.all(asked);
    expect(calls()).toBe(2);
    expect(got.filter(({ isCached }) => isCached)).toHaveLength(19);
    expect((await foreign).isCached).toBe(false);
    expect(flights.size).toBe(0);
  });

  it.each([
    ["fails", new ParleyError("internal", "broken")],
    ["is degraded", answers("later", { degraded: "preset-reply" }, { degraded: "preset-reply" })],
  ])("lets those who wait ask themselves when the first %s", async (_, first) => {
    const { ask, gates, gateAll } = setUp(first, answers("a"));
    gateAll();
    const leader = ask().catch((error) => error);
    await tick();
    const followers = [ask(), ask()];
    await tick();
    gates[0]?.resolve();
    await leader;
    await tick();
    for (const gate of gates) gate.resolve();
    for (const { finish, isCached } of await Promise.all(followers)) {
      expect([finish.parts, isCached]).toEqual([[textPart("a")], false]);
    }
  });

  it("lets those who wait ask themselves when the first is canceled, and a canceled one wait no longer", async () => {
    const { ask, gates, gateAll } = setUp(answers("a"));
    gateAll();
    const [first, second] = [new AbortController(), new AbortController()];
    const canceled = new ParleyError("canceled", "canceled");
    const leader = ask({}, first.signal);
    await tick();
    const waiting = ask();
    const leaving = ask({}, second.signal);
    await tick();
    second.abort(canceled);
    await expect(leaving).rejects.toBe(canceled);
    first.abort(canceled);
    await expect(leader).rejects.toBe(canceled);
    await tick();
    gates.at(-1)?.resolve();
    expect((await waiting).finish.parts).toEqual([textPart("a")]);
  });
});

describe("an agent with a cache and knowledge", () => {
  const config = configOf({
    knowledge: { collection: "manuals" },
    cache: { exact: { ttlSeconds: 60 } },
  });

  it("does not give an answer again once its documents have changed", async () => {
    const { ask, world } = setUpWith({ given: [answers("old"), answers("new")], config });
    await ask();
    expect((await ask()).cached).toBe("exact");
    world.revision = "2";
    const { finish, isCached } = await ask();
    expect([finish.parts, isCached]).toEqual([[textPart("new")], false]);
  });

  it.each([
    ["have changed just now", undefined],
    ["cannot be asked about", new ParleyError("unavailable", "the database is away")],
  ])("neither gives nor keeps an answer while its documents %s", async (_, revision) => {
    const { ask, world, calls } = setUpWith({ given: [answers("a")], config });
    await ask();
    world.revision = revision;
    expect((await ask()).isCached).toBe(false);
    expect((await ask()).isCached).toBe(false);
    world.revision = "1";
    expect((await ask()).isCached).toBe(true);
    expect(calls()).toBe(3);
  });
});
