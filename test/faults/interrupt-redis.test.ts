/** The short form; `npm run faults` plays more rounds. */
import { expect, it } from "vitest";
import { isPostgresAvailable } from "../support/postgres.ts";
import { requirement } from "../support/requirements.ts";
import { interruptRedis } from "./interrupt-redis.ts";

const LIMIT_MS = 240_000;

it.skipIf(!requirement("redis").available || !isPostgresAvailable())(
  "while Redis stands still, dies and comes back empty, messages are answered in time and once, and nothing is forgotten",
  { timeout: LIMIT_MS },
  async () => {
    const report = await interruptRedis({ rounds: 1, conversations: 3 });
    expect(report.problems).toEqual([]);
    expect(report.messages).toBeGreaterThan(6);
  },
);
