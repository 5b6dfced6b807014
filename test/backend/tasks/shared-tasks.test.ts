/** What two backends on one Redis promise together. */
import { create } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { AgentEvent, AgentRunner } from "../../../backend/agents/agent-runner.ts";
import { createEchoAgent } from "../../../backend/agents/echo-agent.ts";
import type { Task } from "../../../backend/tasks/task.ts";
import { sleep } from "../../../core/resilience/full-jitter.ts";
import { PartSchema } from "../../../proto/gen/lf/a2a/v1/a2a_pb.js";
import type { A2AMessage } from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { textOfPieces } from "../../support/persistent-caller.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";
import { requirement } from "../../support/requirements.ts";
import { ann, eve, eventsOf, request } from "./engine-fixture.ts";
import { problemsOf, startSharedEngine, type TestBackend } from "./shared-fixture.ts";

const SOON = { timeout: 10_000, interval: 20 };
const WORDS = Array.from({ length: 300 }, (_, index) => `word-${index} `);

const finish = (text: string): AgentEvent => ({
  type: "finish",
  parts: [create(PartSchema, { content: { case: "text", value: text } })],
  metadata: { model: "scripted" },
  record: { model: "scripted" },
});

/** Says all words; `pauseAfter` words it waits for `open`. */
function speaker({ pauseAfter = Number.POSITIVE_INFINITY, intervalMs = 0 } = {}) {
  const gate = Promise.withResolvers<void>();
  const started: string[] = [];
  const aborted: unknown[] = [];
  const runner: AgentRunner = {
    async *answer(turn, signal) {
      const part = turn.content.parts[0]?.content;
      started.push(part?.case === "text" ? part.value : "");
      signal.addEventListener("abort", () => {
        aborted.push(signal.reason);
        gate.reject(signal.reason);
      });
      for (const [index, text] of WORDS.entries()) {
        if (index === pauseAfter) await gate.promise;
        if (intervalMs > 0) await sleep(intervalMs, signal);
        yield { type: "text-delta", text };
      }
      if (pauseAfter >= WORDS.length) signal.throwIfAborted();
      yield finish(WORDS.join(""));
    },
  };
  gate.promise.catch(() => {});
  return { runner, started, aborted, open: () => gate.resolve() };
}

async function follow(task: Task, after: number, upTo = Number.POSITIVE_INFINITY): Promise<A2AMessage[]> {
  const events: A2AMessage[] = [];
  for await (const event of task.events.follow(after, new AbortController().signal)) {
    events.push(event);
    if (event.sequence >= upTo) break;
  }
  return events;
}

describe.skipIf(!requirement("redis").available)("two backends on one Redis", () => {
  let redis: TestRedis;
  const backends: TestBackend[] = [];
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());
  afterEach(async () => {
    for (const { engine, connection, end } of backends.splice(0)) {
      await engine.drain(AbortSignal.abort());
      if (connection.isReady) await connection.run((commands) => commands.flushall());
      end();
    }
  });

  async function start(runner: AgentRunner, options = {}) {
    const backend = await startSharedEngine(redis.url, runner, options);
    backends.push(backend);
    return backend;
  }

  it("answer a message that is sent to both once, and show both callers the same events", async () => {
    const first = speaker();
    const second = speaker();
    const a = await start(first.runner);
    const b = await start(second.runner);
    const message = { messageId: "m1", contextId: "c1" };
    const [one, other] = await Promise.all([
      a.engine.accept(request("hi", message)),
      b.engine.accept(request("hi", message)),
    ]);
    const [seen, alsoSeen] = await Promise.all([eventsOf(one), eventsOf(other)]);
    expect(other.id).toBe(one.id);
    expect(alsoSeen).toEqual(seen);
    expect(problemsOf(seen)).toEqual([]);
    expect(first.started.length + second.started.length).toBe(1);
  });

  it("give a message sent again to the other backend, after its end, the reply that it has", async () => {
    const a = await start(createEchoAgent());
    const b = await start(createEchoAgent());
    const events = await eventsOf(await a.engine.accept(request("hi", { messageId: "m1" })));
    const again = await b.engine.accept(request("hi", { messageId: "m1" }));
    expect(await eventsOf(again)).toEqual(events);
    expect(b.recorder.rows).toEqual([]);
  });

  it("refuse another message under an id that the other one has taken", async () => {
    const a = await start(createEchoAgent());
    const b = await start(createEchoAgent());
    await a.engine.accept(request("hi", { messageId: "m1" }));
    await expect(b.engine.accept(request("ho", { messageId: "m1" }))).rejects.toMatchObject({
      code: "conflict",
    });
    const task = await b.engine.accept(request("ho", { messageId: "m1" }, { ...ann, subject: "bob" }));
    expect((await eventsOf(task)).at(-1)?.text).toBe("ho");
  });

  it("run a message again whose task failed for want of time, when it is sent to the other one", async () => {
    const a = await start(speaker({ pauseAfter: 1 }).runner);
    const b = await start(createEchoAgent());
    const impatient = await a.engine.accept({ ...request("hi", { messageId: "m1" }), budgetMs: 30 });
    await eventsOf(impatient);
    const again = await b.engine.accept(request("hi", { messageId: "m1" }));
    expect(again.id).not.toBe(impatient.id);
    expect((await eventsOf(again)).at(-1)?.text).toBe("hi");
  });

  it("run one turn at a time in a context, in arrival order, wherever they arrive", async () => {
    const paused = speaker({ pauseAfter: 1 });
    const waiting = speaker();
    const a = await start(paused.runner);
    const b = await start(waiting.runner);
    const first = await a.engine.accept(request("1", { contextId: "c" }));
    const second = await b.engine.accept(request("2", { contextId: "c" }));
    const third = await a.engine.accept(request("3", { contextId: "c" }));
    const elsewhere = await b.engine.accept(request("other", { contextId: "d" }));
    await eventsOf(elsewhere);
    expect([paused.started, waiting.started]).toEqual([["1"], ["other"]]);
    paused.open();
    await Promise.all([first, second, third].map(eventsOf));
    expect([paused.started, waiting.started]).toEqual([
      ["1", "3"],
      ["other", "2"],
    ]);
  });

  it("show a follower on the other backend the events as they come, from any position, and only to its owner", async () => {
    const { runner, open } = speaker({ pauseAfter: 20 });
    const a = await start(runner);
    const b = await start(createEchoAgent());
    const task = await a.engine.accept(request("hi"));
    await follow(task, 0, 21);
    const mirror = await b.engine.find(ann, task.id);
    const live = await follow(mirror, 0, 21);
    expect(live).toEqual(await follow(task, 0, 21));
    open();
    const [own, others] = await Promise.all([eventsOf(task), follow(await b.engine.find(ann, task.id), 7)]);
    expect(others).toEqual(own.slice(7));
    await expect(b.engine.find(eve, task.id)).rejects.toMatchObject({ code: "not_found" });
    await expect(b.engine.find({ ...ann, subject: "bob" }, task.id)).rejects.toMatchObject({
      code: "not_found",
    });
  });

  it("stop a task that is canceled on the other one, and show the end to both", async () => {
    const { runner, aborted } = speaker({ pauseAfter: 3 });
    const a = await start(runner);
    const b = await start(createEchoAgent());
    const task = await a.engine.accept(request("hi", { messageId: "m1" }));
    await follow(task, 0, 4);
    const mirror = await b.engine.findByMessage(ann, "m1");
    mirror?.cancel();
    const [seen, alsoSeen] = await Promise.all([eventsOf(task), eventsOf(mirror ?? task)]);
    expect(seen.at(-1)?.body.case).toBe("status");
    expect(alsoSeen).toEqual(seen);
    expect(mirror?.failure?.code).toBe("canceled");
    expect(aborted).toHaveLength(1);
  });

  it("take over from one that has died: followers get every number once, a restart, and the whole answer", async () => {
    const dead = await start(speaker({ pauseAfter: 100 }).runner);
    const task = await dead.engine.accept(request("hi", { messageId: "m1" }));
    const before = await follow(task, 0, 101);
    // It says nothing to Redis any more, and what it does is seen by nobody.
    dead.end();
    const b = await start(speaker().runner);
    const mirror = await b.engine.find(ann, task.id);
    const after = await follow(mirror, before.length);
    expect(problemsOf([...before, ...after])).toEqual([]);
    expect(textOfPieces([...before, ...after])).toBe(WORDS.join(""));
    const restarts = after.filter(({ body }) => body.case === "restart");
    expect(restarts.map(({ body }) => body.value)).toMatchObject([
      { discardAfterSequence: 1, reason: "taken-over" },
    ]);
    expect(after.at(-1)?.messageId).toBe(before[0]?.messageId);
    // The dead one may not have come to write the message.
    expect(b.recorder.rows.map(({ kind }) => kind)).toEqual(["question", "answer"]);
    // Whoever comes later sees the same.
    expect((await eventsOf(await b.engine.find(ann, task.id))).slice(before.length)).toEqual(after);
  });

  it("take over turns that wait for their context, too, in their order", async () => {
    const dead = await start(speaker({ pauseAfter: 1 }).runner);
    const first = await dead.engine.accept(request("1", { contextId: "c" }));
    const second = await dead.engine.accept(request("2", { contextId: "c" }));
    dead.end();
    const { runner, started } = speaker();
    const b = await start(runner);
    const third = await b.engine.accept(request("3", { contextId: "c" }));
    await eventsOf(third);
    expect(started).toEqual(["1", "2", "3"]);
    for (const { id } of [first, second]) {
      expect(problemsOf(await eventsOf(await b.engine.find(ann, id)))).toEqual([]);
    }
  });

  it("keep a backend that comes back to life from writing or showing anything, and stop its model", async () => {
    const paused = speaker({ pauseAfter: 50 });
    let isDeaf = false;
    const zombie = await start(paused.runner, {
      // As if its process stood still: it asks Redis for nothing and hears nothing.
      wrap: (ledger: object) =>
        new Proxy(ledger, {
          get(target, name) {
            const value = Reflect.get(target, name, target);
            if (name === "claim" && isDeaf) return async () => [];
            if (name === "renew" && isDeaf) return async (leases: unknown[]) => leases.map(() => undefined);
            return typeof value === "function" ? value.bind(target) : value;
          },
        }),
    });
    const task = await zombie.engine.accept(request("hi"));
    await follow(task, 0, 51);
    isDeaf = true;
    const b = await start(speaker().runner);
    const mirror = await b.engine.find(ann, task.id);
    const seen = await eventsOf(mirror);
    paused.open();
    const atTheZombie = await eventsOf(task);
    expect(problemsOf(atTheZombie)).toEqual([]);
    expect(textOfPieces(atTheZombie)).toBe(WORDS.join(""));
    expect(atTheZombie.at(-1)).toEqual(seen.at(-1));
    expect(zombie.recorder.rows.map(({ kind }) => kind)).toEqual(["question"]);
    expect(b.recorder.rows.map(({ kind }) => kind)).toEqual(["question", "answer"]);
  });

  it("give up a task that has ended one backend after the other, and say so", async () => {
    let task: Task | undefined;
    for (let deaths = 0; deaths < 4; deaths++) {
      const victim = speaker({ pauseAfter: 1 });
      const dying = await start(victim.runner);
      task ??= await dying.engine.accept(request("hi"));
      await expect.poll(() => victim.started, SOON).toEqual(["hi"]);
      dying.end();
    }
    const { runner, started } = speaker();
    const last = await start(runner);
    const events = await eventsOf(await last.engine.find(ann, task?.id ?? ""));
    expect(events.at(-1)?.body).toMatchObject({
      case: "error",
      value: { code: "internal", message: expect.stringContaining("given up after 4 backends") },
    });
    expect(started).toEqual([]);
  });

  it("write 2,000 tokens in fewer than 50 calls of Redis", async () => {
    const tokens: AgentRunner = {
      async *answer() {
        for (let index = 0; index < 2_000; index++) {
          yield { type: "text-delta", text: `${index} ` };
          if (index % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
        yield finish("done");
      },
    };
    const a = await start(tokens);
    const calls = async () => {
      const info = await a.connection.run((commands) => commands.info("commandstats"));
      const counts = [...info.matchAll(/cmdstat_(evalsha|eval):calls=(\d+)/g)];
      return counts.reduce((sum, [, , count]) => sum + Number(count), 0);
    };
    const before = await calls();
    expect(problemsOf(await eventsOf(await a.engine.accept(request("hi"))))).toEqual([]);
    const made = (await calls()) - before;
    expect(made).toBeLessThan(50);
    expect(made).toBeGreaterThan(20);
  });
});
