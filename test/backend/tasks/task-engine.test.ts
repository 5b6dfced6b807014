/** What the task engine promises: one answer a message, order in a context, bounds, cancel, drain. */
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import type { AgentEvent, AgentRunner } from "../../../backend/agents/agent-runner.ts";
import { createEchoAgent } from "../../../backend/agents/echo-agent.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { PartSchema } from "../../../proto/gen/lf/a2a/v1/a2a_pb.js";
import { ann, createEngine, createRecorder, eve, eventsOf, request } from "./engine-fixture.ts";

const finish = (text: string): AgentEvent => ({
  type: "finish",
  parts: [create(PartSchema, { content: { case: "text", value: text } })],
  metadata: { model: "scripted" },
  record: { model: "scripted" },
});

/** Answers when told to; waits for its signal otherwise. */
function createGatedAgent() {
  const started: string[] = [];
  const gates: PromiseWithResolvers<void>[] = [];
  const runner: AgentRunner = {
    async *answer(turn, signal) {
      const part = turn.content.parts[0]?.content;
      started.push(part?.case === "text" ? part.value : "");
      const gate = Promise.withResolvers<void>();
      gates.push(gate);
      signal.addEventListener("abort", () => gate.reject(signal.reason), { once: true });
      yield { type: "text-delta", text: "…" };
      await gate.promise;
      yield finish("done");
    },
  };
  return { runner, started, gates };
}

const tick = () => new Promise((resolve) => setTimeout(resolve, 5));

describe("TaskEngine", () => {
  it("answers a message with accepted, deltas and the whole content, all naming task, context and message", async () => {
    const engine = createEngine(createEchoAgent());
    const task = await engine.accept(request("one two", { messageId: "m1", contextId: "c1" }));
    const events = await eventsOf(task);
    expect(events.map((event) => event.body.case)).toEqual(["accepted", "delta", "delta", "content"]);
    expect(events.map((event) => event.sequence)).toEqual([1, 2, 3, 4]);
    for (const event of events) {
      expect(event).toMatchObject({ taskId: task.id, contextId: "c1", inReplyTo: "m1" });
      expect(event).toMatchObject({ senderId: "scripted", receiverId: "ann" });
    }
    expect(events.at(-1)?.text).toBe("one two");
  });

  it("gives the same message sent again the task it already has, running or finished", async () => {
    const { runner, gates, started } = createGatedAgent();
    const engine = createEngine(runner);
    const [first, second] = await Promise.all([
      engine.accept(request("hi", { messageId: "m1" })),
      engine.accept(request("hi", { messageId: "m1" })),
    ]);
    await tick();
    gates[0]?.resolve();
    await eventsOf(first);
    const third = await engine.accept(request("hi", { messageId: "m1" }));
    expect(second).toBe(first);
    expect(third).toBe(first);
    expect(started).toEqual(["hi"]);
  });

  it("refuses another message under a used id, but lets other senders use it", async () => {
    const engine = createEngine(createEchoAgent());
    await engine.accept(request("hi", { messageId: "m1" }));
    await expect(engine.accept(request("ho", { messageId: "m1" }))).rejects.toMatchObject({
      code: "conflict",
    });
    const bob = { ...ann, subject: "bob" };
    await expect(engine.accept(request("ho", { messageId: "m1" }, bob))).resolves.toBeDefined();
  });

  it("has the same words for an agent that does not exist and one of another tenant", async () => {
    const engine = createEngine(createEchoAgent());
    const missing = await engine.accept(request("hi", { receiverId: "scripted2" })).catch((e) => e);
    const foreign = await engine.accept(request("hi", {}, eve)).catch((e) => e);
    expect(missing).toMatchObject({ code: "not_found" });
    expect(foreign).toMatchObject({ code: "not_found" });
    expect(foreign.message).toBe(missing.message.replace("scripted2", "scripted"));
  });

  it("lets only a caller with messages:send-as speak for another", async () => {
    const engine = createEngine(createEchoAgent());
    await expect(engine.accept(request("hi", { senderId: "bob" }))).rejects.toMatchObject({
      code: "permission_denied",
    });
    const proxy = { ...ann, scopes: ["messages:send", "messages:send-as"] };
    const task = await engine.accept(request("hi", { senderId: "bob" }, proxy));
    expect(task.message.senderId).toBe("bob");
  });

  it("runs one turn at a time in a context, in arrival order, and contexts side by side", async () => {
    const { runner, gates, started } = createGatedAgent();
    const engine = createEngine(runner);
    await engine.accept(request("a1", { contextId: "a" }));
    await engine.accept(request("a2", { contextId: "a" }));
    await engine.accept(request("b1", { contextId: "b" }));
    await tick();
    expect(started).toEqual(["a1", "b1"]);
    gates[0]?.resolve();
    await tick();
    expect(started).toEqual(["a1", "b1", "a2"]);
  });

  it("gives a turn what was said before in its context, and nothing of another tenant's", async () => {
    const histories: unknown[] = [];
    const engine = createEngine({
      async *answer(turn) {
        histories.push(turn.history);
        yield finish("fine");
      },
    });
    await eventsOf(await engine.accept(request("how are you", { contextId: "c" })));
    await eventsOf(await engine.accept(request("and now?", { contextId: "c" })));
    expect(histories[0]).toEqual([]);
    expect(histories[1]).toMatchObject([
      { role: "user", text: "how are you" },
      { role: "assistant", text: "fine" },
    ]);
  });

  it("refuses messages over its bound with a time to come back, and takes them again afterwards", async () => {
    const { runner, gates } = createGatedAgent();
    const engine = createEngine(runner, { tasksInFlightMax: 2 });
    const first = await engine.accept(request("1"));
    await engine.accept(request("2"));
    await expect(engine.accept(request("3"))).rejects.toMatchObject({
      code: "resource_exhausted",
      retryAfterMs: 1_000,
    });
    await tick();
    gates[0]?.resolve();
    await eventsOf(first);
    await tick();
    await expect(engine.accept(request("3"))).resolves.toBeDefined();
  });

  it("stops the agent when the task is canceled, and ends it as canceled", async () => {
    const { runner } = createGatedAgent();
    const recorder = createRecorder();
    const engine = createEngine(runner, { recorder });
    const task = await engine.accept(request("hi"));
    await tick();
    task.cancel();
    const events = await eventsOf(task);
    expect(events.at(-1)?.body.case).toBe("status");
    expect(task.failure?.code).toBe("canceled");
    expect(recorder.rows.at(-1)).toMatchObject({ kind: "failure", detail: "canceled" });
  });

  it("does not stop the agent when a follower leaves", async () => {
    const { runner, gates } = createGatedAgent();
    const engine = createEngine(runner);
    const task = await engine.accept(request("hi"));
    for await (const event of task.events.follow(0, new AbortController().signal)) {
      if (event.body.case === "delta") break;
    }
    gates[0]?.resolve();
    expect((await eventsOf(task)).at(-1)?.body.case).toBe("content");
  });

  it("ends a turn whose time is up with deadline_exceeded, the time it waited for its context included", async () => {
    const { runner } = createGatedAgent();
    const engine = createEngine(runner);
    const first = await engine.accept({ ...request("1", { contextId: "c" }), budgetMs: 40 });
    const second = await engine.accept({ ...request("2", { contextId: "c" }), budgetMs: 20 });
    await Promise.all([eventsOf(first), eventsOf(second)]);
    expect(first.failure?.code).toBe("deadline_exceeded");
    expect(second.failure?.code).toBe("deadline_exceeded");
  });

  it("turns an agent's unexpected failure into `internal` without its words, and answers the next message", async () => {
    let calls = 0;
    const engine = createEngine({
      async *answer() {
        calls += 1;
        if (calls === 1) throw new Error("secret detail");
        yield finish("fine");
      },
    });
    const failed = await eventsOf(await engine.accept(request("1", { contextId: "c" })));
    const body = failed.at(-1)?.body;
    expect(body?.case).toBe("error");
    expect(JSON.stringify(body?.value)).not.toContain("secret detail");
    const next = await eventsOf(await engine.accept(request("2", { contextId: "c" })));
    expect(next.at(-1)?.body.case).toBe("content");
  });

  it("voids the deltas of a reply that starts again", async () => {
    const engine = createEngine({
      async *answer() {
        yield { type: "text-delta", text: "wro" };
        yield { type: "restart", reason: "truncated" };
        yield { type: "text-delta", text: "right" };
        yield finish("right");
      },
    });
    const events = await eventsOf(await engine.accept(request("1")));
    expect(events.map((event) => event.body.case)).toEqual([
      "accepted",
      "delta",
      "restart",
      "delta",
      "content",
    ]);
    expect(events[2]?.body.value).toMatchObject({ discardAfterSequence: 1, reason: "truncated" });
  });

  it("shows a reply at once, marked as not recorded, while the log is known to be behind", async () => {
    const recorder = createRecorder({ hang: true, state: "behind" });
    const engine = createEngine(createEchoAgent(), { recorder });
    const startedAtMs = performance.now();
    const events = await eventsOf(await engine.accept(request("hi")));
    expect(events.at(-1)?.metadata).toMatchObject({ recorded: false });
    expect(performance.now() - startedAtMs).toBeLessThan(500);
  });

  it("refuses messages while the log has no room for their turns", async () => {
    const engine = createEngine(createEchoAgent(), { canRecord: () => false });
    await expect(engine.accept(request("hi"))).rejects.toMatchObject({
      code: "resource_exhausted",
      reason: "log-full",
      retryAfterMs: 1_000,
    });
  });

  it("shows a reply that the log cannot take in time, marked as not recorded", async () => {
    const recorder = createRecorder({ hang: true });
    const engine = createEngine(createEchoAgent(), { recorder });
    const events = await eventsOf(await engine.accept(request("hi")));
    expect(events.at(-1)?.metadata).toMatchObject({ recorded: false });
  });

  it("passes the first pieces on before the log has taken the message, which it may never do", async () => {
    const { runner, gates } = createGatedAgent();
    const recorder = createRecorder();
    recorder.question = () => new Promise(() => {});
    const engine = createEngine(runner, { recorder });
    const task = await engine.accept(request("hi"));
    expect(task.events.after(0).map(({ body }) => body.case)).toEqual(["accepted", "delta"]);
    gates[0]?.resolve();
    expect((await eventsOf(task)).at(-1)?.body.case).toBe("content");
  });

  it("refuses new messages while it drains, lets turns end, and fails those that outlast the grace period", async () => {
    const { runner, gates } = createGatedAgent();
    const engine = createEngine(runner);
    const ending = await engine.accept(request("1"));
    const lasting = await engine.accept(request("2"));
    await tick();
    const grace = new AbortController();
    const drained = engine.drain(grace.signal);
    await expect(engine.accept(request("3"))).rejects.toMatchObject({ code: "unavailable", retryable: true });
    gates[0]?.resolve();
    await eventsOf(ending);
    grace.abort();
    await drained;
    expect(ending.failure).toBeUndefined();
    expect(lasting.failure).toBeInstanceOf(ParleyError);
    expect(lasting.failure?.reason).toBe("draining");
  });

  it("ends a canceled turn at once while it waits for its context, and never runs it", async () => {
    const { runner, started } = createGatedAgent();
    const engine = createEngine(runner);
    await engine.accept(request("1", { contextId: "c" }));
    const waiting = await engine.accept(request("2", { contextId: "c" }));
    await tick();
    waiting.cancel();
    expect((await eventsOf(waiting)).at(-1)?.body.case).toBe("status");
    await tick();
    expect(started).toEqual(["1"]);
  });

  it("ends a turn whose time is up while it waits, before the turn in front has ended", async () => {
    const { runner } = createGatedAgent();
    const engine = createEngine(runner);
    const first = await engine.accept(request("1", { contextId: "c" }));
    const waiting = await engine.accept({ ...request("2", { contextId: "c" }), budgetMs: 20 });
    await eventsOf(waiting);
    expect(waiting.failure?.code).toBe("deadline_exceeded");
    expect(first.events.ended).toBe(false);
  });

  it("runs a message again whose task failed for want of time, when it is sent again", async () => {
    const { runner, gates } = createGatedAgent();
    const engine = createEngine(runner);
    const impatient = await engine.accept({ ...request("hi", { messageId: "m1" }), budgetMs: 10 });
    await eventsOf(impatient);
    const again = await engine.accept(request("hi", { messageId: "m1" }));
    expect(again).not.toBe(impatient);
    await tick();
    gates[1]?.resolve();
    expect((await eventsOf(again)).at(-1)?.body.case).toBe("content");
  });

  it("takes a message sent again on another stream, under another default context, for the same", async () => {
    const engine = createEngine(createEchoAgent());
    const first = await engine.accept({
      ...request("hi", { messageId: "m1" }),
      defaultContextId: "stream-1",
    });
    const second = await engine.accept({
      ...request("hi", { messageId: "m1" }),
      defaultContextId: "stream-2",
    });
    expect(second).toBe(first);
  });

  it("answers a message whose recorder throws", async () => {
    const recorder = createRecorder();
    const { question } = recorder;
    let calls = 0;
    recorder.question = (task) => {
      calls += 1;
      if (calls === 1) throw new RangeError("a value that JSON cannot say");
      return question(task);
    };
    const engine = createEngine(createEchoAgent(), { recorder });
    const first = await engine.accept(request("1", { contextId: "c" }));
    expect((await eventsOf(first)).at(-1)?.body.case).toBe("content");
    await expect(first.acceptance).rejects.toThrow(RangeError);
    const next = await engine.accept(request("2", { contextId: "c" }));
    expect((await eventsOf(next)).at(-1)?.body.case).toBe("content");
  });

  it("does not remember what stood in for an answer", async () => {
    const histories: unknown[] = [];
    const engine = createEngine({
      async *answer(turn) {
        histories.push(turn.history);
        const event = finish("come back later");
        yield event.type === "finish"
          ? { ...event, record: { model: "preset", degraded: "preset-reply" } }
          : event;
      },
    });
    await eventsOf(await engine.accept(request("1", { contextId: "c" })));
    await eventsOf(await engine.accept(request("2", { contextId: "c" })));
    expect(histories).toEqual([[], []]);
  });

  it("lets a caller follow and cancel what it sent in another's name", async () => {
    const engine = createEngine(createEchoAgent());
    const proxy = { ...ann, scopes: ["messages:send", "messages:send-as"] };
    const task = await engine.accept(request("hi", { senderId: "bob" }, proxy));
    expect(await engine.find(proxy, task.id)).toBe(task);
    const bob = { ...ann, subject: "bob" };
    await expect(engine.find(bob, task.id)).rejects.toThrow(/there is no task/);
    expect(await engine.findByMessage(bob, task.message.messageId)).toBeUndefined();
  });

  it("finds a task for its sender only", async () => {
    const engine = createEngine(createEchoAgent());
    const task = await engine.accept(request("hi"));
    expect(await engine.find(ann, task.id)).toBe(task);
    await expect(engine.find(eve, task.id)).rejects.toThrow(/there is no task/);
    await expect(engine.find({ ...ann, subject: "bob" }, task.id)).rejects.toThrow(/there is no task/);
  });

  it("forgets finished tasks after a time", async () => {
    let now = 1_000;
    const engine = createEngine(createEchoAgent(), { now: () => now });
    const task = await engine.accept(request("hi"));
    await eventsOf(task);
    await tick();
    now += 300_001;
    await expect(engine.find(ann, task.id)).rejects.toThrow(/ended too long ago/);
  });
});
