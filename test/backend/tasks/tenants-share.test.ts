/** Tenants side by side on one task engine: neither can take the other's room; and what a task keeps of its agent. */
import { describe, expect, it } from "vitest";
import type { AgentRunner } from "../../../backend/agents/agent-runner.ts";
import { createEchoAgent } from "../../../backend/agents/echo-agent.ts";
import type { Task } from "../../../backend/tasks/task.ts";
import type { Directory } from "../../../core/directory/directory.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { ann, createEngine, directory, eve, eventsOf, request } from "./engine-fixture.ts";

/** Every tenant has the agent. */
const ofAll: Directory = {
  ...directory,
  findAgent: async (tenantId, agentId) => {
    const agent = await directory.findAgent("acme", agentId);
    return agent && { ...agent, tenantId };
  },
};

/** Answers Eve's tenant at once, and Ann's never. */
const echo = createEchoAgent();
const stuckForAcme: AgentRunner = {
  async *answer(turn, signal) {
    if (turn.agent.tenantId === "umbrella") return yield* echo.answer(turn, signal);
    await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  },
};

describe("a task engine", () => {
  it("takes and answers one tenant's messages while another one floods it", async () => {
    const engine = createEngine(stuckForAcme, { directory: ofAll, tasksInFlightMax: 100 });
    const flood = await Promise.allSettled(
      Array.from({ length: 200 }, (_, index) => engine.accept(request(`${index}`))),
    );
    const refused = flood.flatMap((one) => (one.status === "rejected" ? [one.reason as ParleyError] : []));
    expect(refused).toHaveLength(125);
    expect(refused[0]).toMatchObject({
      code: "resource_exhausted",
      reason: "too-many-in-flight",
      retryAfterMs: 1_000,
    });
    for (let turn = 0; turn < 30; turn++) {
      const events = await eventsOf(await engine.accept(request(`turn ${turn}`, {}, eve)));
      expect(events.at(-1)?.text).toBe(`turn ${turn}`);
    }
    await engine.drain(AbortSignal.abort());
  });

  it("keeps one tenant's finished tasks to be followed while another one's come and go", async () => {
    const engine = createEngine(echo, { directory: ofAll });
    const kept = await engine.accept(request("hi", {}, eve));
    await eventsOf(kept);
    const flood: Task[] = [];
    for (let index = 0; index < 1_100; index++) {
      const task = await engine.accept(request(`${index}`));
      await eventsOf(task);
      flood.push(task);
    }
    await new Promise((resolve) => setImmediate(resolve));
    expect(await engine.find(eve, kept.id)).toBe(kept);
    expect(await engine.find(ann, flood.at(-1)?.id ?? "")).toBe(flood.at(-1));
    await expect(engine.find(ann, flood[0]?.id ?? "")).rejects.toThrow(ParleyError);
  });

  it("runs a task with the agent as it was accepted with, whatever becomes of the agent meanwhile", async () => {
    const gate = Promise.withResolvers<void>();
    const versions: number[] = [];
    const gated: AgentRunner = {
      async *answer(turn, signal) {
        await gate.promise;
        versions.push(turn.agent.version);
        yield* echo.answer(turn, signal);
      },
    };
    let version = 1;
    const changing: Directory = {
      ...directory,
      findAgent: async (tenantId, agentId) => {
        const agent = await directory.findAgent(tenantId, agentId);
        return agent && { ...agent, version };
      },
    };
    const engine = createEngine(gated, { directory: changing });
    const before = await engine.accept(request("before", { contextId: "c1" }));
    // Waits for its turn behind the one before it.
    const waiting = await engine.accept(request("waiting", { contextId: "c1" }));
    version = 2;
    const after = await engine.accept(request("after", { contextId: "c1" }));
    gate.resolve();
    for (const task of [before, waiting, after]) await eventsOf(task);
    expect(versions).toEqual([1, 1, 2]);
    expect([before, waiting, after].map(({ agentVersion }) => agentVersion)).toEqual([1, 1, 2]);
  });

  it("asks the log for room by tenant", async () => {
    const engine = createEngine(echo, {
      directory: ofAll,
      canRecord: (tenantId) => tenantId !== "acme",
    });
    await expect(engine.accept(request("hi"))).rejects.toMatchObject({ reason: "log-full" });
    await expect(engine.accept(request("hi", {}, eve))).resolves.toBeDefined();
  });
});
