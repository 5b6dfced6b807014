/** Limits of the backend's own port, by real clients. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AgentRunner } from "../../../backend/agents/agent-runner.ts";
import { BACKEND_TOKEN_HEADER, signBackendToken } from "../../../core/auth/backend-token.ts";
import type { KeyLimits } from "../../../core/limits/limits.ts";
import { ErrorInfoSchema, RetryInfoSchema } from "../../../proto/gen/google/rpc/error_details_pb.js";
import { A2AMessageSchema } from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { withinAMinute } from "../../support/within-a-minute.ts";
import { startBackend } from "../rpc/backend-fixture.ts";
import { ann, createEngine, eventsOf, message } from "../tasks/engine-fixture.ts";

const PARALLEL = 50;
/** "hello" and an answer of middling length. */
const ESTIMATE = 258;
const HELLO = { receiverId: "scripted", text: "hello" };

let backend: Awaited<ReturnType<typeof startBackend>>;
let release: () => void;
/** What an answer costs; undefined for one that fails. */
let usage: { inputTokens: number; outputTokens: number } | undefined;

const agent: AgentRunner = {
  async *answer() {
    onDecided(++decidedCount);
    await gate;
    if (!usage) throw new Error("no");
    yield {
      ...{ type: "finish", parts: [], record: { model: "scripted" } },
      metadata: { usage: { ...usage } },
    };
  },
};
let gate: Promise<void>;
/** Calls whose turn has begun, or that have been refused. */
let decidedCount: number;
let onDecided: (count: number) => void;

beforeEach(async () => {
  await withinAMinute(1_000);
  gate = new Promise((resolve) => {
    release = resolve;
  });
  usage = { inputTokens: 40, outputTokens: 60 };
  decidedCount = 0;
  onDecided = () => {};
  backend = await startBackend(createEngine(agent));
});
afterEach(async () => {
  release();
  await backend.stop();
});

function limitKey(limits: KeyLimits): void {
  const record = backend.records.get(backend.key.keyId);
  if (record) backend.records.set(record.keyId, { ...record, limits });
}

/** The reply's case, or the error. */
async function ask(message: { messageId?: string } = {}, headers: Record<string, string> = backend.headers) {
  try {
    const reply = await backend.agents().processMessage({ ...HELLO, ...message }, { headers });
    return reply.body.case;
  } catch (error) {
    onDecided(++decidedCount);
    return ConnectError.from(error);
  }
}

function refusals(outcomes: readonly unknown[]): ConnectError[] {
  return outcomes.filter(
    (outcome): outcome is ConnectError =>
      outcome instanceof ConnectError && outcome.code === Code.ResourceExhausted,
  );
}

describe("the backend's port", () => {
  it("admits 10 of 50 parallel calls against a limit of 10 requests, with RetryInfo for the others", async () => {
    limitKey({ requestsPerMinute: 10 });
    release();
    const refused = refusals(await Promise.all(Array.from({ length: PARALLEL }, () => ask())));
    expect(refused).toHaveLength(40);
    expect(refused[0]?.findDetails(ErrorInfoSchema)[0]).toMatchObject({ reason: "REQUEST_LIMIT" });
    const delay = refused[0]?.findDetails(RetryInfoSchema)[0]?.retryDelay;
    expect(Number(delay?.seconds)).toBeGreaterThanOrEqual(0);
  });

  it("sets aside no more than a budget of 1,000 tokens, whatever 50 parallel calls ask for", async () => {
    limitKey({ tokensPerMinute: 1_000 });
    const startedAtMs = performance.now();
    onDecided = (count) => {
      if (count === PARALLEL) release();
    };
    const refused = refusals(await Promise.all(Array.from({ length: PARALLEL }, () => ask())));
    // A busy machine takes its time, in which the bucket refills.
    const refilled = ((performance.now() - startedAtMs) / 60_000) * 1_000;
    expect(PARALLEL - refused.length).toBeGreaterThanOrEqual(3);
    expect((PARALLEL - refused.length) * ESTIMATE).toBeLessThanOrEqual(1_000 + refilled);
    expect(refused[0]?.findDetails(ErrorInfoSchema)[0]).toMatchObject({ reason: "TOKEN_LIMIT" });
  });

  it("charges what an answer has cost, and nothing for one that failed or was sent again", async () => {
    limitKey({ tokensPerMinute: 300 });
    release();
    usage = undefined;
    for (let i = 0; i < 3; i++) expect(refusals([await ask()])).toEqual([]);
    usage = { inputTokens: 10, outputTokens: 10 };
    for (let i = 0; i < 4; i++) expect(await ask({ messageId: "m-1" })).toBe("content");
    usage = { inputTokens: 1_000, outputTokens: 0 };
    expect(await ask()).toBe("content");
    expect(refusals([await ask()])).toHaveLength(1);
  });

  it("charges nothing for a message whose task another process has charged", async () => {
    const engine = createEngine(agent);
    await backend.stop();
    backend = await startBackend(engine);
    limitKey({ tokensPerMinute: 600 });
    usage = { inputTokens: 5_000, outputTokens: 0 };
    release();
    const principal = { ...ann, keyId: backend.key.keyId };
    const accepted = { message: message("hello", { messageId: "m-1" }), principal, budgetMs: undefined };
    await eventsOf(await engine.accept({ ...accepted, requestId: "request-elsewhere" }));
    expect(await ask({ messageId: "m-1" })).toBe("content");
    expect(await ask()).toBe("content");
    expect(refusals([await ask()])).toHaveLength(1);
  });

  it("charges a turn whose caller has left, when the turn ends", async () => {
    limitKey({ tokensPerMinute: 600 });
    usage = { inputTokens: 5_000, outputTokens: 0 };
    const leave = new AbortController();
    const call = backend.agents().processMessage(HELLO, { headers: backend.headers, signal: leave.signal });
    setTimeout(() => leave.abort(), 100);
    await expect(call).rejects.toThrow();
    release();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(refusals([await ask()])).toHaveLength(1);
  });

  const cancel = { body: { case: "cancel", value: {} }, inReplyTo: "m-1" } as const;

  /** The codes of the errors that a conversation of these messages was answered with. */
  async function errorsOf(...messages: MessageInitShape<typeof A2AMessageSchema>[]): Promise<string[]> {
    const sent = async function* () {
      for (const message of messages) yield create(A2AMessageSchema, message);
    };
    const errors: string[] = [];
    for await (const { body } of backend.agents().streamMessage(sent(), { headers: backend.headers })) {
      if (body.case === "error") errors.push(body.value.code);
    }
    return errors;
  }

  it("counts every message of a conversation", async () => {
    limitKey({ requestsPerMinute: 2 });
    release();
    expect(await errorsOf(HELLO, HELLO, HELLO, HELLO)).toEqual(["resource_exhausted", "resource_exhausted"]);
  });

  it("counts cancels in a conversation, those of nothing among them", async () => {
    limitKey({ requestsPerMinute: 3 });
    expect(await errorsOf(cancel, cancel, cancel, cancel)).toEqual([
      ...["not_found", "not_found", "not_found"],
      "resource_exhausted",
    ]);
  });

  it("counts a conversation that is only opened, and opens none over the limit", async () => {
    limitKey({ requestsPerMinute: 2 });
    await errorsOf();
    await errorsOf();
    await expect(errorsOf()).rejects.toMatchObject({ code: Code.ResourceExhausted });
    expect(refusals([await ask()])).toHaveLength(1);
  });

  it("takes a changed limit anew in an open conversation", async () => {
    let aheadMs = 0;
    await backend.stop();
    backend = await startBackend(createEngine(agent), { monotonicNow: () => performance.now() + aheadMs });
    limitKey({ requestsPerMinute: 1 });
    release();
    const next = Promise.withResolvers<void>();
    const sent = async function* () {
      yield create(A2AMessageSchema, HELLO);
      yield create(A2AMessageSchema, HELLO);
      await next.promise;
      yield create(A2AMessageSchema, HELLO);
    };
    const outcomes: string[] = [];
    for await (const { body } of backend.agents().streamMessage(sent(), { headers: backend.headers })) {
      if (body.case === "error" || body.case === "content") outcomes.push(body.case);
      if (outcomes.length !== 2) continue;
      limitKey({ requestsPerMinute: 100 });
      aheadMs = 20_000;
      next.resolve();
    }
    expect(outcomes.toSorted()).toEqual(["content", "content", "error"]);
  });

  it("does not count what an edge has counted", async () => {
    limitKey({ requestsPerMinute: 1 });
    release();
    const principal = { ...ann, keyId: backend.key.keyId };
    const claims = { principal, requestId: "request-1" };
    const token = await signBackendToken(backend.backendTokenKey, claims, Date.now());
    for (let i = 0; i < 3; i++) expect(await ask({}, { [BACKEND_TOKEN_HEADER]: token })).toBe("content");
  });
});
