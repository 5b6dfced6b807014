/** Two backends whose Redis stands still, dies, and comes back: nothing hangs, nothing is answered twice. */
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AgentRunner } from "../../../backend/agents/agent-runner.ts";
import type { Task } from "../../../backend/tasks/task.ts";
import { sleep } from "../../../core/resilience/full-jitter.ts";
import { PartSchema } from "../../../proto/gen/lf/a2a/v1/a2a_pb.js";
import type { A2AMessage } from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { textOfPieces } from "../../support/persistent-caller.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";
import { requirement } from "../../support/requirements.ts";
import { ann, eventsOf, request } from "./engine-fixture.ts";
import { LEASE_MS, problemsOf, startSharedEngine, type TestBackend } from "./shared-fixture.ts";

const WORDS = Array.from({ length: 200 }, (_, index) => `word-${index} `);
const ANSWER = WORDS.join("");
/** Far more than an answer takes, far less than a hang. */
const ANSWER_LIMIT_MS = 20_000;

/** Says 200 words, `intervalMs` apart, and counts by question how often it has begun. */
function countingSpeaker(intervalMs: number) {
  const runs = new Map<string, number>();
  const runner: AgentRunner = {
    async *answer(turn, signal) {
      const part = turn.content.parts[0]?.content;
      const question = part?.case === "text" ? part.value : "";
      runs.set(question, (runs.get(question) ?? 0) + 1);
      for (const text of WORDS) {
        await sleep(intervalMs, signal);
        yield { type: "text-delta", text };
      }
      yield {
        type: "finish",
        parts: [create(PartSchema, { content: { case: "text", value: ANSWER } })],
        metadata: {},
        record: { model: "scripted" },
      };
    },
  };
  return { runner, runs };
}

async function withinLimit(task: Task): Promise<A2AMessage[]> {
  const events: A2AMessage[] = [];
  for await (const event of task.events.follow(0, AbortSignal.timeout(ANSWER_LIMIT_MS))) events.push(event);
  return events;
}

describe.skipIf(!requirement("redis").available)("two backends whose Redis", { timeout: 60_000 }, () => {
  let redis: TestRedis;
  let speaker: ReturnType<typeof countingSpeaker>;
  let a: TestBackend;
  let b: TestBackend;
  beforeEach(async () => {
    redis = await startRedis();
    speaker = countingSpeaker(2);
    [a, b] = (await Promise.all(
      [1, 2].map(() => startSharedEngine(redis.url, speaker.runner, { turnTimeoutMs: ANSWER_LIMIT_MS })),
    )) as [TestBackend, TestBackend];
  });
  afterEach(async () => {
    for (const { engine, end } of [a, b]) {
      await engine.drain(AbortSignal.abort());
      end();
    }
    await redis.stop();
  });

  const restartEmpty = async () => {
    await redis.stop();
    await expect.poll(() => a.connection.isReady, { timeout: 5_000 }).toBe(false);
    redis = await startRedis({ port: Number(new URL(redis.url).port) });
  };
  const bothReady = () =>
    Promise.all([a, b].map(({ connection }) => connection.ready(AbortSignal.timeout(10_000))));
  const onBothSides = async (task: Task) => {
    for (const { engine } of [a, b]) {
      // Found on the other one, too, once the ledger has been told.
      await expect
        .poll(() => engine.find(ann, task.id).then(({ id }) => id, String), { timeout: 10_000 })
        .toBe(task.id);
      const events = await withinLimit(await engine.find(ann, task.id));
      expect(problemsOf(events)).toEqual([]);
      expect(textOfPieces(events)).toBe(ANSWER);
    }
  };

  it("stands still go on answering what they run, take more, and tell each other afterwards", async () => {
    const running = await a.engine.accept(request("before", { messageId: "before" }));
    redis.process.kill("SIGSTOP");
    const during = await b.engine.accept(request("during", { messageId: "during" }));
    for (const task of [running, during]) expect(problemsOf(await withinLimit(task))).toEqual([]);
    // Longer than a lease: when Redis goes on, every lease in it has run out.
    await new Promise((resolve) => setTimeout(resolve, 2 * LEASE_MS));
    redis.process.kill("SIGCONT");
    await bothReady();
    await onBothSides(running);
    await onBothSides(during);
    await new Promise((resolve) => setTimeout(resolve, 3 * LEASE_MS));
    expect([...speaker.runs]).toEqual([
      ["before", 1],
      ["during", 1],
    ]);
    const again = await a.engine.accept(request("during", { messageId: "during" }));
    expect(again.id).toBe(during.id);
  });

  it("stands still for longer than a lease keep what each of them runs, and restart nothing", async () => {
    speaker = countingSpeaker(10);
    const slow = await startSharedEngine(redis.url, speaker.runner);
    const task = await slow.engine.accept(request("slow"));
    redis.process.kill("SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, 1.5 * LEASE_MS));
    redis.process.kill("SIGCONT");
    const events = await withinLimit(task);
    expect(problemsOf(events)).toEqual([]);
    expect(events.filter(({ body }) => body.case === "restart")).toEqual([]);
    expect([...speaker.runs]).toEqual([["slow", 1]]);
    await slow.engine.drain(AbortSignal.abort());
    slow.end();
  });

  it("comes back empty give it what they run, and know again what they have answered meanwhile", async () => {
    const running = await a.engine.accept(request("before", { messageId: "before" }));
    await restartEmpty();
    const during = await b.engine.accept(request("during", { messageId: "during" }));
    await bothReady();
    expect(problemsOf(await withinLimit(running))).toEqual([]);
    await onBothSides(running);
    await onBothSides(during);
    const again = await b.engine.accept(request("before", { messageId: "before" }));
    expect(again.id).toBe(running.id);
    expect([...speaker.runs.values()]).toEqual([1, 1]);
  });

  it("comes and goes under load answer every message once, in time", async () => {
    const answers: Promise<A2AMessage[]>[] = [];
    const send = async (count: number) => {
      for (let index = 0; index < count; index++) {
        const id = `m${answers.length}`;
        const { engine } = index % 2 === 0 ? a : b;
        const fields = { messageId: id, contextId: `c${answers.length % 7}-${index % 2}` };
        answers.push(engine.accept(request(id, fields)).then(withinLimit));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    await send(10);
    redis.process.kill("SIGSTOP");
    await send(10);
    redis.process.kill("SIGCONT");
    await send(10);
    await restartEmpty();
    await send(10);
    await bothReady();
    await send(10);
    const all = await Promise.all(answers);
    expect(all.flatMap((events) => problemsOf(events))).toEqual([]);
    await new Promise((resolve) => setTimeout(resolve, 3 * LEASE_MS));
    expect([...speaker.runs.values()]).toEqual(all.map(() => 1));
  });

  it("works lose nothing to followers that leave at random positions and come back, on either side", async () => {
    const task = await a.engine.accept(request("hi"));
    const own = eventsOf(task);
    const followers = Array.from({ length: 50 }, async (_, index) => {
      const seen: A2AMessage[] = [];
      let departures = 0;
      while (seen.at(-1)?.body.case !== "content") {
        const { engine } = (index + departures) % 2 === 0 ? a : b;
        const stay = 1 + Math.floor(Math.random() * 10);
        const shown = await engine.find(ann, task.id);
        const before = seen.length;
        for await (const event of shown.events.follow(before, AbortSignal.timeout(ANSWER_LIMIT_MS))) {
          seen.push(event);
          if (seen.length === before + stay) break;
        }
        departures++;
      }
      return { seen, departures };
    });
    const all = await Promise.all(followers);
    const events = await own;
    expect(all.reduce((sum, { departures }) => sum + departures, 0)).toBeGreaterThan(1_000);
    for (const { seen } of all) expect(seen).toEqual(events);
    expect([...speaker.runs.values()]).toEqual([1]);
  });
});
