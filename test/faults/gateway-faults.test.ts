/** The short form; `npm run faults` plays all sixteen scenarios, and a thousand departures. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { BENCH_TIMES } from "../support/failover-scenarios.ts";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { startWall, type Wall } from "../support/wall.ts";
import { leaveAndReturn } from "./leave-and-return.ts";
import { playScenarios } from "./play-scenarios.ts";
import { raiseLimits } from "./scene.ts";
import { belowGoal } from "./scorecard.ts";
import { SURFACES } from "./surfaces.ts";

/** Those that take no long silence to play. */
const SHORT_ONES = ["S03", "S05", "S08", "S10", "S11", "S12", "S13", "S14", "S16"];
const DEPARTURES = 60;
const LIMIT_MS = 120_000;

let wall: Wall;
let gateway: Gateway;
beforeAll(async () => {
  wall = await startWall({ times: BENCH_TIMES, tokenIntervalMs: 10 });
  gateway = await startGateway({
    environment: { OPENAI_BASE_URL: wall.baseUrl, OPENAI_API_KEY: "wall", OPENAI_MODEL: "healthy" },
  });
  await raiseLimits(gateway.database);
}, LIMIT_MS);
afterAll(async () => {
  await gateway.stop();
  gateway.remove();
  await wall.close();
}, LIMIT_MS);

it(
  "the whole answer of a model that fails, or a clean error, comes out on every surface",
  async () => {
    const played = await playScenarios({ gateway, wall, times: BENCH_TIMES, ids: SHORT_ONES });
    expect(belowGoal(played)).toEqual([]);
    expect(played).toHaveLength(SHORT_ONES.length * SURFACES.length);
  },
  LIMIT_MS,
);

it(
  "followers that leave at random positions and come back miss nothing and get nothing twice, byte for byte",
  async () => {
    const report = await leaveAndReturn({ gateway, agentId: "assistant", departures: DEPARTURES });
    expect(report.problems).toEqual([]);
    expect(report.departures).toBeGreaterThanOrEqual(DEPARTURES);
  },
  LIMIT_MS,
);
