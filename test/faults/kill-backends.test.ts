/** The short form; `npm run faults` plays more rounds. */
import { expect, it } from "vitest";
import { isPostgresAvailable } from "../support/postgres.ts";
import { requirement } from "../support/requirements.ts";
import { killBackends } from "./kill-backends.ts";

const ROUNDS = 2;
/** An embedded database takes up to 20 s to come up on a busy machine, and comes up once a round. */
const EMBEDDED_ROUNDS = 2;
const LIMIT_MS = 240_000;

it.skipIf(!requirement("redis").available || !isPostgresAvailable())(
  "of two backends the one that answers is killed, and every caller gets the whole answer once",
  { timeout: LIMIT_MS },
  async () => {
    const report = await killBackends({ rounds: ROUNDS, mode: "shared" });
    expect(report).toMatchObject({ problems: [], whole: ROUNDS });
  },
);

it.skipIf(!requirement("redis").available || !isPostgresAvailable())(
  "of two backends the one that answers stands still until the other one has taken over, and nobody gets two answers",
  { timeout: LIMIT_MS },
  async () => {
    const report = await killBackends({ rounds: 1, mode: "shared", fault: "pause" });
    expect(report).toMatchObject({ problems: [], whole: 1 });
  },
);

it("the only backend is killed and started again, and every caller gets the whole answer once", {
  timeout: LIMIT_MS,
}, async () => {
  const report = await killBackends({ rounds: EMBEDDED_ROUNDS, mode: "embedded" });
  expect(report).toMatchObject({ problems: [], whole: EMBEDDED_ROUNDS });
});
