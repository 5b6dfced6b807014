/** Answers given again to questions that mean nearly the same: how near, to whom, and never when they should not be. */
import { describe, expect, it } from "vitest";
import type { AgentTurn } from "../../../backend/agents/agent-runner.ts";
import { SimilarAnswers } from "../../../backend/agents/similar-answers.ts";
import {
  BUILTIN_EMBEDDING_MODEL_ID,
  BuiltinEmbeddingModel,
} from "../../../backend/llm/builtin-embedding-model.ts";
import { createQuestionEmbedder } from "../../../backend/llm/question-embedder.ts";
import { MemoryAnswerCache } from "../../../backend/stores/memory-answer-cache.ts";
import { MemoryQuestionIndex } from "../../../backend/stores/memory-question-index.ts";
import { agentConfigSchema } from "../../../core/directory/agent.ts";
import { textContent } from "../../../core/messages/envelope.ts";
import { agentOf, answers, configOf, setUpWith, textPart } from "./cached-agent-fixture.ts";

const OPEN = "When do you open?";
const OPENING = "What are your opening hours?";
const NEAR_OPEN = "At what hour do you open?";
const PARKING = "Where can I park?";
const CLOSED = "When do you close?";
/** Cosines with OPEN: OPENING 0.96, NEAR_OPEN 0.98, CLOSED 0.8, PARKING 0. */
const embeddings = {
  [OPEN]: [1, 0],
  [OPENING]: [0.96, 0.28],
  [NEAR_OPEN]: [4.9, 0.995],
  [CLOSED]: [0.8, 0.6],
  [PARKING]: [0, 1],
  "Opens at 9?": [1, 0],
  "Opens at 10?": [1, 0],
};
const semantic = { threshold: 0.95, ttlSeconds: 60 };
const config = configOf({ cache: { semantic } });
const asking = (text: string, more: Partial<AgentTurn> = {}) => ({ content: textContent(text), ...more });
const start = (...given: Parameters<typeof setUpWith>[0]["given"]) =>
  setUpWith({ given: given.length > 0 ? given : [answers("At nine.")], config, embeddings });

describe("an agent with a semantic cache", () => {
  it("gives the answer to a question that is near enough, marked, with how near, at no cost", async () => {
    const { ask, calls } = start();
    await ask(asking(OPEN));
    const { finish, deltas } = await ask(asking(OPENING));
    expect(calls()).toBe(1);
    expect(deltas).toEqual(["At nine."]);
    expect(finish.parts).toEqual([textPart("At nine.")]);
    const usage = { inputTokens: 0, outputTokens: 0 };
    expect(finish.metadata).toMatchObject({ usage, cached: "semantic", similarity: 0.96 });
    expect(finish.record).toEqual({
      ...{ model: "openai/m", ...usage, usageEstimated: false, cached: "semantic" },
    });
  });

  it.each([CLOSED, PARKING])("does not give it to a question that is not: %s", async (question) => {
    const { ask, calls } = start();
    await ask(asking(OPEN));
    expect((await ask(asking(question))).isCached).toBe(false);
    expect(calls()).toBe(2);
  });

  it("gives the nearest of several answers", async () => {
    const { ask } = start(answers("about opening"), answers("about hours"));
    await ask(asking(OPENING));
    await ask(asking(CLOSED));
    expect((await ask(asking(NEAR_OPEN))).finish.parts).toEqual([textPart("about opening")]);
  });

  it("does not take a question with other numbers for the same", async () => {
    const { ask } = start();
    await ask(asking("Opens at 9?"));
    expect((await ask(asking("Opens at 10?"))).isCached).toBe(false);
    expect((await ask(asking("Opens at 9?"))).cached).toBe("semantic");
  });

  it.each<[string, Partial<AgentTurn>]>([
    ["tenant", { agent: agentOf({ tenantId: "umbrella" }) }],
    ["agent", { agent: agentOf({ id: "b" }) }],
    ["version of the agent", { agent: agentOf({ version: 2 }) }],
    ["instruction", { instructions: "Be brief." }],
    ["sampling", { parameters: { temperature: 0 } }],
  ])("does not give it to another %s", async (_, turn) => {
    const { ask } = start();
    await ask(asking(OPEN));
    expect((await ask(asking(OPENING, turn))).isCached).toBe(false);
    expect((await ask(asking(OPENING))).cached).toBe("semantic");
  });

  it("does not give it when the models or the embedding model have changed", async () => {
    const { ask, models, world } = start();
    await ask(asking(OPEN));
    world.modelId = "openai/embed-2";
    expect((await ask(asking(OPENING))).isCached).toBe(false);
    world.modelId = "openai/embed";
    models[0] = "openai/newer";
    expect((await ask(asking(OPENING))).isCached).toBe(false);
  });

  it.each<[string, Partial<AgentTurn>]>([
    ["in a conversation", { history: [{ role: "user", text: "hi" }] }],
    ["after a summary", { summary: { text: "s", tokens: 1 } }],
    ["when more may have been said", { isHistoryIncomplete: true }],
  ])("neither gives nor keeps an answer %s", async (_, turn) => {
    const { ask } = start();
    await ask(asking(OPENING, turn));
    expect((await ask(asking(OPEN))).isCached).toBe(false);
    expect((await ask(asking(OPENING, turn))).isCached).toBe(false);
  });

  it.each([
    ["degraded", answers("later", { degraded: "preset-reply" }, { degraded: "preset-reply" })],
    ["cut off at its limit", answers("half", { finishReason: "length" })],
    ["found by words alone", answers("half informed", { knowledge: "words-only" })],
    ["without its documents", answers("uninformed", { knowledge: "unavailable" })],
  ])("never keeps an answer that is %s", async (_, answer) => {
    const { ask } = start(answer);
    await ask(asking(OPEN));
    expect((await ask(asking(OPENING))).isCached).toBe(false);
  });

  it("forgets the answer when its time is over", async () => {
    const { ask, pass } = start();
    await ask(asking(OPEN));
    pass(60_000);
    expect((await ask(asking(OPENING))).isCached).toBe(false);
  });

  it("drops its answers when the documents of its collection change", async () => {
    const knowing = configOf({ knowledge: { collection: "manuals" }, cache: { semantic } });
    const { ask, world } = setUpWith({ given: [answers("a")], config: knowing, embeddings });
    await ask(asking(OPEN));
    expect((await ask(asking(OPENING))).cached).toBe("semantic");
    world.revision = "2";
    expect((await ask(asking(OPENING))).isCached).toBe(false);
  });

  it("looks for the very same question first when it has both caches", async () => {
    const both = configOf({ cache: { exact: { ttlSeconds: 60 }, semantic } });
    const { ask } = setUpWith({ given: [answers("a")], config: both, embeddings });
    await ask(asking(OPEN));
    expect((await ask(asking(OPEN))).cached).toBe("exact");
    expect((await ask(asking(OPENING))).cached).toBe("semantic");
  });

  it("answers as ever, and keeps nothing, when the question has no embedding", async () => {
    const { ask, calls } = start();
    expect((await ask(asking("Unknown words"))).finish.parts).toEqual([textPart("At nine.")]);
    expect((await ask(asking("Unknown words"))).isCached).toBe(false);
    expect(calls()).toBe(2);
  });
});

describe("the configuration of a cache", () => {
  const parse = (cache: object) =>
    agentConfigSchema.safeParse({ kind: "model", models: [{ provider: "builtin" }], cache }).success;

  it.each([
    ["says nothing", {}],
    ["takes any question for the same", { semantic: { threshold: 0.5, ttlSeconds: 60 } }],
    ["takes none", { semantic: { threshold: 1.1, ttlSeconds: 60 } }],
    ["has no threshold", { semantic: { ttlSeconds: 60 } }],
    ["keeps for ever", { semantic: { threshold: 0.9, ttlSeconds: 1e9 } }],
    ["knows another cache", { exact: { ttlSeconds: 60 }, fuzzy: {} }],
  ])("that %s is refused", (_, cache) => expect(parse(cache)).toBe(false));

  it("may have either, or both", () => {
    expect(
      [{ semantic }, { exact: { ttlSeconds: 1 } }, { exact: { ttlSeconds: 1 }, semantic }].map(parse),
    ).toEqual([...[true, true, true]]);
  });
});

describe("similar answers with the builtin embedding", () => {
  const models = { currentId: BUILTIN_EMBEDDING_MODEL_ID, find: () => new BuiltinEmbeddingModel() };
  const signal = new AbortController().signal;
  const similar = new SimilarAnswers({
    ...{ cache: new MemoryAnswerCache(() => 0), index: new MemoryQuestionIndex() },
    embed: createQuestionEmbedder({
      ...{ models, now: () => performance.now(), random: () => 0.5 },
      onFailure: () => undefined,
    }),
  });
  const find = (text: string, agentId = "a") =>
    similar.find({ tenantId: "acme", agentId, text, identity: "i" }, 0.9, signal);
  const answer = { parts: [], metadata: {}, model: "m" };

  it("are found for the same words in another order or another form", async () => {
    await (await find("How do I configure the Ollama host?"))?.keep(answer, 60_000);
    expect((await find("how do I configure the ollama hosts"))?.found?.similarity).toBeGreaterThan(0.9);
  });

  it.each([
    ["Who is the gateway?", "What is the gateway?"],
    ["Is parking allowed?", "Is parking not allowed?"],
    ["What is in version 1?", "What is in version 2?"],
  ])("are not taken from %j for %j, which are one to the embedding", async (one, other) => {
    await (await find(one, "b"))?.keep(answer, 60_000);
    expect((await find(one, "b"))?.found).toBeDefined();
    expect((await find(other, "b"))?.found).toBeUndefined();
  });

  it("are not looked for when the question is long", async () => {
    expect(await find("word ".repeat(401))).toBeUndefined();
  });
});

describe("the embedding of a question", () => {
  const signal = new AbortController().signal;
  const embedderOf = (embed: () => Promise<Float32Array[]>) => {
    const failures: unknown[] = [];
    const model = { id: "openai/m", embed };
    const embedder = createQuestionEmbedder({
      ...{ models: { currentId: "openai/m", find: () => model }, now: () => 0, random: () => 0.5 },
      onFailure: (error) => failures.push(error),
    });
    return { embedder, failures };
  };

  it("is none without an error when the server is gone, and after three failures the server is left alone", async () => {
    let calls = 0;
    const { embedder, failures } = embedderOf(async () => {
      calls += 1;
      throw new Error("gone");
    });
    for (let round = 0; round < 5; round++) expect(await embedder("x", signal)).toBeUndefined();
    expect([calls, failures.length]).toEqual([3, 3]);
  });

  it("is none when the server hangs, and is not waited for when the caller leaves", async () => {
    const { embedder } = embedderOf(() => new Promise(() => undefined));
    expect(await embedder("x", signal)).toBeUndefined();
    const leaving = new AbortController();
    const asked = embedder("x", leaving.signal);
    leaving.abort(new Error("left"));
    await expect(asked).rejects.toThrow("left");
  });
});
