/**
 * The sixteen scenarios of Failover Bench, played by the model manager against the wall over real sockets. Times are
 * shortened by configuration; the rules are the bench's.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ModelLink } from "../../../backend/llm/answer-event.ts";
import { ModelManager } from "../../../backend/llm/model-manager.ts";
import { openaiClientSource } from "../../../backend/llm/openai-client.ts";
import { OpenaiLanguageModel } from "../../../backend/llm/openai-language-model.ts";
import { ProviderHealth } from "../../../backend/llm/provider-health.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { Deadline } from "../../../core/resilience/deadline.ts";
import { sleep } from "../../../core/resilience/full-jitter.ts";
import { CANONICAL_TEXT } from "../../support/double-answer.ts";
import {
  type FailoverScenario,
  type FaultTimes,
  failoverScenarios,
  judge,
  type ObservedReply,
} from "../../support/failover-scenarios.ts";
import { modelRequest, neverAborted } from "../../support/model-events.ts";
import { startWall, type Wall } from "../../support/wall.ts";

/** Long enough for a busy machine to answer in time, short enough to wait for. */
const TIMES: FaultTimes = { slowMs: 15_000, stallMs: 10_000, outageMs: 3_000, requestIntervalMs: 500 };
const LIMITS = { firstTokenTimeoutMs: 3_000, idleTimeoutMs: 2_000, totalTimeoutMs: 20_000, attemptsMax: 2 };
const TEST_MS = 60_000;

const now = () => performance.now();
let wall: Wall;

beforeAll(async () => {
  wall = await startWall({ times: TIMES });
});
afterAll(() => wall.close());

/** A gateway's worth of policy, with its own health. */
function createCaller(scenario: Pick<FailoverScenario, "primary" | "fallback" | "fallbackFor">) {
  const health = new ProviderHealth({ now, random: Math.random });
  const manager = new ModelManager({ now, random: Math.random, sleep, health });
  const client = openaiClientSource({ apiKey: "key", baseUrl: wall.baseUrl });
  const link = (model: string): ModelLink => ({
    model: new OpenaiLanguageModel({ providerId: "openai", model, client, host: "wall" }),
    parameters: {},
    ...LIMITS,
  });
  const [primary, fallback] = [link(scenario.primary), link(scenario.fallback)];
  const isForAny = scenario.fallbackFor === "any";
  return async (): Promise<ObservedReply> => {
    const startedAtMs = now();
    let text = "";
    try {
      const events = manager.answer({
        chain: isForAny ? [primary, fallback] : [primary],
        contextWindowFallbacks: isForAny ? [] : [fallback],
        request: modelRequest("Why?"),
        presetReply: "Later.",
        deadline: Deadline.after(45_000, now),
        signal: neverAborted(),
      });
      for await (const event of events) {
        if (event.type === "text-delta") text += event.text;
        else if (event.type === "restart") text = "";
        else {
          // What the events say is what the answer says.
          expect(text).toBe(event.answer.text);
          const model = event.answer.model.slice("openai/".length);
          return {
            startedAtMs,
            endedAtMs: now(),
            text,
            model,
            outputTokens: event.answer.usage.outputTokens,
          };
        }
      }
      return { startedAtMs, endedAtMs: now() };
    } catch (error) {
      if (!(error instanceof ParleyError)) throw error;
      const detail = error.details?.["providerCode"];
      const told = { code: error.code, detail: typeof detail === "string" ? detail : undefined };
      return { startedAtMs, endedAtMs: now(), error: told };
    }
  };
}

async function play(scenario: FailoverScenario) {
  const ask = createCaller(scenario);
  const replies: ObservedReply[] = [];
  for (let request = 0; request < scenario.requests; request += 1) {
    if (request > 0) await sleep(TIMES.requestIntervalMs, neverAborted());
    replies.push(await ask());
  }
  const after = createCaller({
    primary: `healthy@${scenario.id}-after`,
    fallback: "none",
    fallbackFor: "any",
  });
  const aliveAfterwards = (await after()).text === CANONICAL_TEXT;
  const attempts = wall.attempts(scenario.primary, scenario.fallback);
  return { attempts, replies, aliveAfterwards };
}

describe("the model manager", () => {
  it.concurrent.each(
    failoverScenarios(TIMES).map((scenario) => [scenario.id, scenario.fault, scenario] as const),
  )(
    "passes %s: %s",
    async (_id, _fault, scenario) => {
      const observation = await play(scenario);
      expect(judge(scenario, observation)).toEqual({ verdict: "pass", failed: [] });
    },
    TEST_MS,
  );

  it(
    "closes the slower connection of a hedged request at once",
    async () => {
      const health = new ProviderHealth({ now, random: Math.random });
      const manager = new ModelManager({ now, random: Math.random, sleep, health });
      const client = openaiClientSource({ apiKey: "key", baseUrl: wall.baseUrl });
      const chain = ["slow-60000@hedged", "healthy@hedge"].map((model) => ({
        model: new OpenaiLanguageModel({ providerId: "openai", model, client, host: "wall" }),
        parameters: {},
        ...{ ...LIMITS, firstTokenTimeoutMs: 30_000, totalTimeoutMs: 60_000 },
      }));
      const answer = manager.answer({
        ...{ chain, hedge: { afterMs: 100 }, request: modelRequest("Why?"), presetReply: "Later." },
        ...{ deadline: Deadline.after(45_000, now), signal: neverAborted() },
      });
      for await (const event of answer) {
        if (event.type !== "text-delta") continue;
        expect(await wall.double.requestsFor("slow-60000@hedged")[0]?.closed).toBe("early");
      }
      expect(await wall.double.requestsFor("healthy@hedge")[0]?.closed).toBe("whole");
    },
    TEST_MS,
  );

  it("never gives a fallback a half answer to go on with", () => {
    for (const { body } of wall.double.requests) expect(body.messages.at(-1).role).toBe("user");
  });
});
