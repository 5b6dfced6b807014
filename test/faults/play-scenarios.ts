/**
 * Plays the sixteen scenarios against a whole gateway, on every surface, each with models and an agent of its own, so
 * that what is learnt of one model says nothing of another. Scenarios that mostly wait run side by side.
 */
import { sleep } from "../../core/resilience/full-jitter.ts";
import { CANONICAL_TEXT } from "../support/double-answer.ts";
import {
  type FailoverScenario,
  type FaultTimes,
  failoverScenarios,
  type Judgement,
  judge,
  type ObservedReply,
} from "../support/failover-scenarios.ts";
import type { Gateway } from "../support/gateway.ts";
import type { Wall } from "../support/wall.ts";
import { type Ask, askersOf, SURFACES, type Surface } from "./surfaces.ts";

/** No request of a scenario may take longer, whatever its own bound is. */
const REQUEST_MS_MAX = 110_000;
/**
 * Scenarios that a retry must save. Retries of a host are paid for by its successes (gRFC A6), and all of this wall's
 * faults come from one host: these are played first, after as many healthy answers as fill that budget.
 */
const NEED_RETRIES: readonly string[] = ["S01", "S03", "S05"];
const HEALTHY_ANSWERS = 40;
const HEALTHY_AT_ONCE = 10;
/** Between the starts of those that run side by side. */
const STAGGER_MS = 60;
const HEALTHY = "healthy";

/** One cell of the scorecard. */
export interface Played extends Judgement {
  readonly id: string;
  readonly fault: string;
  readonly surface: Surface;
  /** Of the slowest request. */
  readonly slowestMs: number;
  readonly attempts: number;
}

/** What is played, and on what. */
export interface ScenarioOptions {
  readonly gateway: Gateway;
  readonly wall: Wall;
  readonly times: FaultTimes;
  /** Default all. */
  readonly ids?: readonly string[];
}

/** Plays them; ends within the sum of the bounds of its requests. */
export async function playScenarios(options: ScenarioOptions): Promise<Played[]> {
  const { gateway, times, ids } = options;
  const asks = askersOf(gateway);
  const scenarios = failoverScenarios(times).filter(({ id }) => !ids || ids.includes(id));
  for (const surface of SURFACES) {
    await makeAgent(
      gateway,
      agentId(HEALTHY, surface),
      configOf(surface, { models: [`${HEALTHY}@${surface}`] }),
    );
  }
  const playOn = async (scenario: FailoverScenario, surface: Surface) =>
    play(ownNames(scenario, surface), { ...options, surface, ask: asks[surface] });
  const played: Played[] = [];
  const [careful, others] = [true, false].map((needs) =>
    scenarios.filter(({ id }) => NEED_RETRIES.includes(id) === needs),
  ) as [FailoverScenario[], FailoverScenario[]];
  for (const surface of careful.length > 0 ? SURFACES : []) {
    await answerMany(asks.grpc);
    played.push(...(await Promise.all(careful.map((scenario) => playOn(scenario, surface)))));
  }
  const running = others.flatMap((scenario, row) =>
    SURFACES.map(async (surface, column) => {
      await sleep((row * SURFACES.length + column) * STAGGER_MS, new AbortController().signal);
      return playOn(scenario, surface);
    }),
  );
  played.push(...(await Promise.all(running)));
  return played;
}

async function answerMany(ask: Ask): Promise<void> {
  for (let answers = 0; answers < HEALTHY_ANSWERS; answers += HEALTHY_AT_ONCE) {
    const round = Array.from({ length: HEALTHY_AT_ONCE }, () =>
      ask(agentId(HEALTHY, "grpc"), AbortSignal.timeout(REQUEST_MS_MAX)),
    );
    for (const { text } of await Promise.all(round)) {
      if (text !== CANONICAL_TEXT) throw new Error("a healthy model was not passed on");
    }
  }
}

interface Stage extends ScenarioOptions {
  readonly surface: Surface;
  readonly ask: Ask;
}

async function play(scenario: FailoverScenario, stage: Stage): Promise<Played> {
  const { gateway, wall, times, surface, ask } = stage;
  const agent = agentId(scenario.id, surface);
  const { primary, fallback, fallbackFor } = scenario;
  const chain = fallbackFor === "any" ? [primary, fallback] : [primary];
  const larger = fallbackFor === "any" ? [] : [fallback];
  await makeAgent(gateway, agent, configOf(surface, { models: chain, larger }));
  const replies: ObservedReply[] = [];
  let dueAtMs = performance.now();
  for (let request = 0; request < scenario.requests; request++) {
    await sleep(Math.max(0, dueAtMs - performance.now()), new AbortController().signal);
    dueAtMs += times.requestIntervalMs;
    replies.push(await observed(ask, agent));
  }
  const after = await observed(ask, agentId(HEALTHY, surface));
  const attempts = wall.attempts(primary, fallback);
  const aliveAfterwards = after.text === CANONICAL_TEXT;
  return {
    ...judge(scenario, { attempts, replies, aliveAfterwards }),
    ...{ id: scenario.id, fault: scenario.fault, surface, attempts: attempts.length },
    slowestMs: Math.max(...replies.map(({ startedAtMs, endedAtMs }) => endedAtMs - startedAtMs)),
  };
}

/** A request that is not over in time, or breaks, is one that has never ended. */
async function observed(ask: Ask, agent: string): Promise<ObservedReply> {
  const startedAtMs = performance.now();
  const reply = await ask(agent, AbortSignal.timeout(REQUEST_MS_MAX)).catch(
    (): Partial<ObservedReply> => ({}),
  );
  return { ...reply, startedAtMs, endedAtMs: performance.now() };
}

function ownNames(scenario: FailoverScenario, surface: Surface): FailoverScenario {
  const { primary, fallback } = scenario;
  return { ...scenario, primary: `${primary}-${surface}`, fallback: `${fallback}-${surface}` };
}

const agentId = (id: string, surface: Surface) => `${id.toLowerCase()}-${surface}`;

/** All limits are the product's defaults: at most one retry, 12 s to the first token, 15 s between two pieces. */
function configOf(
  surface: Surface,
  { models, larger = [] }: { models: string[]; larger?: string[] },
): object {
  const link = (model: string) => ({ provider: "openai", model });
  return {
    kind: "model",
    models: models.map(link),
    contextWindowFallbacks: larger.map(link),
    completions: { holdBack: surface === "held-back" },
  };
}

async function makeAgent({ database }: Gateway, id: string, config: object): Promise<void> {
  await database.query(
    `insert into agents (tenant_id, id, name, description, version, config)
     values ('default', $1, $1, '', 1, $2::jsonb) on conflict (tenant_id, id) do nothing`,
    [id, JSON.stringify(config)],
  );
}
