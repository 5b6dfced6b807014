/** What a task without an answer says that it has cost: its caller is charged that, whoever it is. */
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import type { AgentRunner } from "../../../backend/agents/agent-runner.ts";
import { createEchoAgent } from "../../../backend/agents/echo-agent.ts";
import type { ModelAttempt } from "../../../backend/llm/answer-event.ts";
import { failureCost } from "../../../backend/tasks/failure-cost.ts";
import { shownAttempts } from "../../../backend/tasks/shown-attempts.ts";
import { fromConnectError } from "../../../core/errors/connect-errors.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { startBackend } from "../rpc/backend-fixture.ts";
import { ann, createEngine, eventsOf, message, request } from "./engine-fixture.ts";

const FORTY_CHARACTERS = "x".repeat(40);
const ATTEMPT: ModelAttempt = {
  model: "openai/small",
  outcome: "truncated",
  startedAfterMs: 0,
  durationMs: 1,
  usage: { inputTokens: 100, outputTokens: 7 },
};

/** Fails one attempt, says forty characters in the next, and then never ends by itself. */
const stuck: AgentRunner = {
  async *answer({ onAttempt }, signal) {
    yield { type: "text-delta", text: "void" };
    onAttempt(ATTEMPT);
    yield { type: "restart", reason: "truncated" };
    yield { type: "text-delta", text: FORTY_CHARACTERS };
    await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  },
};
/** Fails with what it has said among its attempts. */
const broken: AgentRunner = {
  async *answer({ onAttempt }) {
    yield { type: "text-delta", text: FORTY_CHARACTERS };
    onAttempt(ATTEMPT);
    throw new ParleyError("unavailable", "no model");
  },
};

describe("a task that ends without an answer", () => {
  it("costs the attempts that were made, and what was cut off of the last one", async () => {
    const engine = createEngine(stuck);
    const task = await engine.accept(request(FORTY_CHARACTERS));
    const events = eventsOf(task);
    await new Promise((resolve) => setTimeout(resolve, 20));
    task.cancel();
    const last = (await events).at(-1);
    expect(last?.body.case).toBe("status");
    expect(last?.metadata).toEqual({ usage: { inputTokens: 100 + 10, outputTokens: 7 + 10 } });
  });

  it("that failed by itself costs its attempts, none of them twice", async () => {
    const last = (await eventsOf(await createEngine(broken).accept(request("hi")))).at(-1);
    expect(last?.body.case).toBe("error");
    expect(last?.metadata).toEqual({ usage: ATTEMPT.usage });
  });

  it("tells a caller who may know which models were asked, and how they ended", async () => {
    const who = { ...ann, scopes: [...ann.scopes, "attempts:read" as const] };
    const last = (await eventsOf(await createEngine(broken).accept(request("hi", {}, who)))).at(-1);
    expect(last?.metadata).toEqual({ usage: ATTEMPT.usage, attempts: shownAttempts([ATTEMPT]) });
  });

  it("costs nothing where no model has said anything", () => {
    const { usage: _, ...silent } = ATTEMPT;
    const failed = { message: message("hi"), attempts: [silent], cutText: "" };
    expect(failureCost(failed)).toEqual({ inputTokens: 0, outputTokens: 0 });
  });
});

describe("a failed call", () => {
  let backend: Awaited<ReturnType<typeof startBackend>> | undefined;
  afterEach(() => backend?.stop());

  it.each(["grpc", "grpc-web", "connect"] as const)(
    "whose turn's time is up learns over %s what it has cost",
    async (protocol) => {
      backend = await startBackend(createEngine(stuck, { turnTimeoutMs: 200 }));
      const agents = backend.agents(backend.transports[protocol]);
      const call = agents.processMessage(message(FORTY_CHARACTERS), { headers: backend.headers });
      const failure = await call.then(
        () => expect.fail("it was answered"),
        (error) => ConnectError.from(error),
      );
      expect(failure.code).toBe(Code.DeadlineExceeded);
      expect(fromConnectError(failure).details).toEqual({ usage: { inputTokens: 110, outputTokens: 17 } });
    },
  );

  it.each([
    [20_000, 250],
    [2_000, 200],
  ])("of %i ms ends its turn %i ms before its own end", async (timeoutMs, lastWordMs) => {
    const engine = createEngine(createEchoAgent());
    const budgets: number[] = [];
    const { accept } = engine;
    engine.accept = (accepted) => {
      budgets.push(accepted.budgetMs ?? Number.POSITIVE_INFINITY);
      return accept.call(engine, accepted);
    };
    backend = await startBackend(engine);
    await backend.agents().processMessage(message("hi"), { headers: backend.headers, timeoutMs });
    expect(budgets).toHaveLength(1);
    expect(budgets[0]).toBeLessThanOrEqual(timeoutMs - lastWordMs);
    expect(budgets[0]).toBeGreaterThan(timeoutMs / 2);
  });
});
