/** What the manager makes of the health of providers: breakers, budgets, gates, and second calls. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { PATIENCE_MS_MIN } from "../../../backend/llm/call-verdict.ts";
import { ConcurrencyGate } from "../../../backend/llm/concurrency-gate.ts";
import {
  GATE_WAIT_MS_MAX,
  LAST_RESORT_WAIT_MS_MAX,
  RETRY_WAIT_ALONE_MS_MAX,
} from "../../../backend/llm/model-manager.ts";
import { ProviderHealth } from "../../../backend/llm/provider-health.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { Deadline } from "../../../core/resilience/deadline.ts";
import { at, begins, ScriptedModel, type Step, says } from "../../support/scripted-model.ts";
import { type ask, askedPromptly, failing, healthy, link, now } from "./manager-fixture.ts";

let health: ProviderHealth;
let changes: string[];

beforeEach(() => {
  vi.useFakeTimers();
  changes = [];
  health = new ProviderHealth({
    now,
    random: () => 0,
    onChange: ({ model, host, state }) => changes.push(`${model}@${host} ${state}`),
  });
});
afterEach(() => {
  vi.useRealTimers();
});

const asked = (...[chain, fields]: Parameters<typeof ask>) => askedPromptly(chain, { health, ...fields });

const down = (id = "a/down") => at("a", failing(id, "provider-unavailable"));
const well = (id = "b/well") => at("b", healthy(id));

describe("a model that keeps failing", () => {
  it("is passed over once it has failed often enough, and is asked again when its time is up", async () => {
    const primary = down();
    const chain = [link(primary, { attemptsMax: 1 }), well()];
    for (let request = 0; request < 3; request += 1) await asked(chain);
    expect(changes).toEqual(["a/down@a open"]);
    const { outcomes } = await asked(chain);
    expect(outcomes).toEqual(["a/down circuit-open", "b/well answered"]);
    await vi.advanceTimersByTimeAsync(5_000);
    await asked(chain);
    expect(primary.requests).toHaveLength(4);
  });

  it("is back within 30 s of its recovery, after few probes (a request each 4 s)", async () => {
    let isDown = true;
    const calls: number[] = [];
    const primary = at("a", new ScriptedModel("a/primary"));
    primary.stream = async function* () {
      calls.push(now());
      if (isDown) yield* failing("a/primary", "provider-unavailable").stream({} as never, {} as never);
      else for (const event of says("Back.")) yield event as never;
    };
    const startedAtMs = now();
    const answeredBy: string[] = [];
    for (let request = 0; request < 20; request += 1) {
      const at = startedAtMs + 4_000 * request;
      await vi.advanceTimersByTimeAsync(Math.max(0, at - now()));
      isDown = now() - startedAtMs < 60_000;
      answeredBy.push((await asked([primary, well()])).answer?.model ?? "none");
    }
    expect(answeredBy).not.toContain("preset");
    const back = answeredBy.indexOf("a/primary");
    expect(back).toBeGreaterThan(0);
    expect(4 * back - 60).toBeLessThanOrEqual(30);
    expect(answeredBy.slice(back).every((model) => model === "a/primary")).toBe(true);
    // Three to open the circuit, and then one at a time: after 5 s, 10 s, and each 20 s.
    expect(calls.filter((ms) => ms - startedAtMs < 60_000).length).toBeLessThanOrEqual(8);
  });

  it("is left alone by its host and name: the same name elsewhere, and its neighbour, are asked", async () => {
    const chain = [link(down(), { attemptsMax: 1 })];
    for (let request = 0; request < 3; request += 1) await asked([...chain, well()]);
    const elsewhere = at("c", new ScriptedModel("a/down", says("Here.")));
    const neighbour = at("a", new ScriptedModel("a/other", says("Here.")));
    expect((await asked([elsewhere])).answer?.text).toBe("Here.");
    expect((await asked([neighbour])).answer?.text).toBe("Here.");
  });

  it("is not asked a second time by the request that finds it failing once too often", async () => {
    const primary = down();
    const chain = [link(primary, { attemptsMax: 5 }), well()];
    const { outcomes } = await asked(chain);
    expect(outcomes).toEqual([...Array(3).fill("a/down provider-unavailable"), "b/well answered"]);
  });

  it("is asked all the same, once a second and one at a time, when there is no other", async () => {
    const primary = down();
    const chain = [link(primary, { attemptsMax: 1 })];
    for (let request = 0; request < 3; request += 1) await asked(chain);
    const startedAtMs = now();
    const all = await Promise.all(Array.from({ length: 50 }, () => asked(chain)));
    expect(all.every(({ answer }) => answer?.degraded === "preset-reply")).toBe(true);
    expect(now() - startedAtMs).toBeLessThan(LAST_RESORT_WAIT_MS_MAX + 500);
    expect(primary.requests.length - 3).toBeGreaterThan(0);
    expect(primary.requests.length - 3).toBeLessThanOrEqual(2);
  });

  it("for a moment only does not cost those their answers who have no other", async () => {
    const scripts: Step[][] = [...Array(4).fill([{ fail: "provider-unavailable" }]), says("Back.")];
    const chain = [at("a", new ScriptedModel("a/m", ...scripts))];
    // As many as the retry budget bears; those that come later have not called yet.
    const early = Array.from({ length: 4 }, () => asked(chain));
    await vi.advanceTimersByTimeAsync(100);
    const all = await Promise.all([...early, ...Array.from({ length: 20 }, () => asked(chain))]);
    expect(changes).toEqual(["a/m@a open", "a/m@a closed"]);
    expect(all.map(({ answer }) => answer?.text)).toEqual(Array(24).fill("Back."));
  });

  it("answers as soon as it is back when there is no other", async () => {
    const scripts: Step[][] = [...Array(3).fill([{ fail: "provider-unavailable" }]), says("Back.")];
    const chain = [link(at("a", new ScriptedModel("a/m", ...scripts)), { attemptsMax: 1 })];
    for (let request = 0; request < 3; request += 1) await asked(chain);
    await vi.advanceTimersByTimeAsync(1_000);
    expect((await asked(chain)).answer?.text).toBe("Back.");
    expect(changes).toEqual(["a/m@a open", "a/m@a closed"]);
  });
});

describe("what does not count against a model", () => {
  it.each([["context-window"], ["content-policy"], ["provider-refused"], ["empty-answer"]] as const)(
    "is %s: others may ask what it takes",
    async (reason) => {
      const model = at("a", failing("a/m", reason));
      for (let request = 0; request < 30; request += 1) await asked([model, well()]);
      expect(changes).toEqual([]);
    },
  );

  it("is the impatience of an agent, or of a caller", async () => {
    const silent = at("a", new ScriptedModel("a/silent", [{ silence: true }]));
    const impatient = link(silent, { firstTokenTimeoutMs: 100 });
    for (let request = 0; request < 5; request += 1) await asked([impatient, well()]);
    const patient = link(silent, { firstTokenTimeoutMs: 60_000, totalTimeoutMs: 60_000 });
    for (let request = 0; request < 5; request += 1) {
      const { outcomes } = await asked([patient], { deadline: Deadline.after(6_000, now) });
      expect(outcomes).toEqual(["a/silent abandoned"]);
    }
    expect(changes).toEqual([]);
    const silentFor = link(silent, { firstTokenTimeoutMs: PATIENCE_MS_MIN });
    for (let request = 0; request < 3; request += 1) await asked([silentFor, well()]);
    expect(changes).toEqual(["a/silent@a open"]);
  });
});

describe("a rate limit with a time", () => {
  const limited = (retryAfterMs: number) =>
    at("a", new ScriptedModel("a/m", [{ fail: "rate-limited", retryAfterMs }], says("Now.")));

  it("keeps others away from the model until then, and them on the next one", async () => {
    const primary = limited(2_500);
    const first = asked([primary, well()]);
    await vi.advanceTimersByTimeAsync(1);
    expect((await asked([primary, well()])).outcomes).toEqual(["a/m circuit-open", "b/well answered"]);
    expect((await first).answer?.model).toBe("a/m");
  });

  it("is waited for by those who have no other model, and then all are answered", async () => {
    const primary = limited(2_000);
    const all = await Promise.all(Array.from({ length: 20 }, () => asked([primary])));
    expect(all.map(({ answer }) => answer?.text)).toEqual(Array(20).fill("Now."));
  });

  it("is not waited for when it is too long", async () => {
    const { answer, waits } = await asked([limited(RETRY_WAIT_ALONE_MS_MAX + 1)]);
    expect(answer?.degraded).toBe("preset-reply");
    expect(waits).toEqual([]);
  });
});

it("stops trying again at a host whose retry budget is used up, whichever model fails there", async () => {
  for (let request = 0; request < 5; request += 1) {
    await asked([link(down(`a/${request}`), { attemptsMax: 1 }), well()]);
  }
  const { outcomes } = await asked([link(down("a/last"), { attemptsMax: 5 }), well()]);
  expect(outcomes).toEqual(["a/last provider-unavailable", "b/well answered"]);
});

describe("a host that takes few calls at once", () => {
  const slow = (id = "o/m") => at("o", new ScriptedModel(id, [{ waitMs: 3_000 }, ...says("Slow.")]));
  const gated = (model: ScriptedModel, gate: ConcurrencyGate) =>
    link(model, { gate, firstTokenTimeoutMs: 10_000 });

  it("gets no more than that, the rest in turn", async () => {
    const gate = new ConcurrencyGate({ activeMax: 2, waitingMax: 10 });
    const model = slow();
    const all = Array.from({ length: 4 }, () => asked([gated(model, gate)]));
    await vi.advanceTimersByTimeAsync(10);
    expect(model.requests).toHaveLength(2);
    expect((await Promise.all(all)).map(({ answer }) => answer?.text)).toEqual(Array(4).fill("Slow."));
    expect(gate.active).toBe(0);
  });

  it("is not waited for longer than some seconds while another model could answer", async () => {
    const gate = new ConcurrencyGate({ activeMax: 1, waitingMax: 10 });
    gate.tryEnter();
    const startedAtMs = now();
    const { outcomes } = await asked([gated(slow(), gate), well()]);
    expect(outcomes).toEqual(["o/m host-busy", "b/well answered"]);
    expect(now() - startedAtMs).toBeLessThan(GATE_WAIT_MS_MAX + 100);
  });

  it("turns a full queue's request to the next model at once", async () => {
    const gate = new ConcurrencyGate({ activeMax: 1, waitingMax: 0 });
    gate.tryEnter();
    const startedAtMs = now();
    expect((await asked([gated(slow(), gate), well()])).outcomes.at(-1)).toBe("b/well answered");
    expect(now() - startedAtMs).toBeLessThan(10);
  });

  it("gets its place back however a call ends", async () => {
    const gate = new ConcurrencyGate({ activeMax: 1, waitingMax: 10 });
    const controller = new AbortController();
    const canceled = asked([gated(slow(), gate)], { signal: controller.signal });
    await vi.advanceTimersByTimeAsync(10);
    expect(gate.active).toBe(1);
    controller.abort("changed my mind");
    expect((await canceled).error).toBe("changed my mind");
    expect(gate.active).toBe(0);
    await asked([gated(at("o", failing("o/m", "garbled")), gate)]);
    await asked([gated(at("o", new ScriptedModel("o/m", [begins("a"), { silence: true }])), gate)]);
    expect(gate.active).toBe(0);
  });

  it("lets a caller that waits for its turn go", async () => {
    const gate = new ConcurrencyGate({ activeMax: 1, waitingMax: 10 });
    gate.tryEnter();
    const controller = new AbortController();
    const waiting = asked([gated(slow(), gate)], { signal: controller.signal });
    await vi.advanceTimersByTimeAsync(10);
    controller.abort("changed my mind");
    expect((await waiting).error).toBe("changed my mind");
    expect([gate.active, gate.waiting]).toEqual([1, 0]);
  });
});

describe("a call that is cut off", () => {
  const talking = () => at("a", new ScriptedModel("a/m", [begins("12345678"), { silence: true }]));
  const cutOffBy = async (reason: unknown) => {
    const controller = new AbortController();
    const asking = asked([talking()], { signal: controller.signal });
    await vi.advanceTimersByTimeAsync(10);
    controller.abort(reason);
    return asking;
  };

  it("by a cancel is on record as canceled, with what it cost, estimated", async () => {
    const { told } = await cutOffBy(new ParleyError("canceled", "the task was canceled"));
    expect(told).toEqual([
      {
        attempt: {
          model: "a/m",
          outcome: "canceled",
          startedAfterMs: 0,
          durationMs: expect.closeTo(10, -1),
          firstTokenMs: 0,
          usage: { inputTokens: 1, outputTokens: 2, estimated: true },
        },
        failure: undefined,
      },
    ]);
  });

  it("by the end of its task's time is on record as abandoned", async () => {
    const { outcomes } = await cutOffBy(new ParleyError("deadline_exceeded", "too late"));
    expect(outcomes).toEqual(["a/m abandoned"]);
  });

  it("by the deadline is on record as abandoned, whatever the model's own limits", async () => {
    const { outcomes, answer } = await asked(
      [link(talking(), { idleTimeoutMs: 60_000, totalTimeoutMs: 60_000 })],
      {
        deadline: Deadline.after(2_000, now),
      },
    );
    expect(outcomes).toEqual(["a/m abandoned"]);
    expect(answer?.degraded).toBe("preset-reply");
  });
});

it("keeps no more health than of a thousand models", async () => {
  const first = link(down("a/0"), { attemptsMax: 1 });
  for (let request = 0; request < 3; request += 1) await asked([first, well()]);
  for (let model = 1; model <= 1_000; model += 1) health.refusal(link(down(`a/${model}`)));
  expect(health.refusal(first)).toBeUndefined();
});

it("is told of failures by one request and heeds them in another: the health is shared", async () => {
  const { outcomes } = await asked([link(down(), { attemptsMax: 3 }), well()]);
  expect(outcomes).toHaveLength(4);
  expect((await asked([down(), well()])).outcomes[0]).toBe("a/down circuit-open");
});
