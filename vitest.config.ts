/** The test run: everything under test/ except the bench, in processes, as many as there are cores. */
import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { SkipReporter } from "./test/support/skip-reporter.ts";

/** More at a time than this only makes the servers of the end-to-end tests wait for each other. */
const WORKERS_MAX = 4;

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/bench/**"],
    pool: "forks",
    maxWorkers: Math.min(WORKERS_MAX, availableParallelism()),
    testTimeout: 15_000,
    // An embedded database takes up to 9 s to come up on a busy machine with two cores.
    hookTimeout: 60_000,
    reporters: ["default", new SkipReporter()],
  },
});
