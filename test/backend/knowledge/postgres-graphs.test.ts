/** When graphs are looked after. What is built, and when not, is tested in postgres-vector-index.test.ts. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { PostgresGraphs } from "../../../backend/knowledge/postgres-graphs.ts";
import type { SqlDatabase } from "../../../backend/stores/sql-database.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("graphs are looked after", () => {
  it.each([
    ["every 30 s, also while the database is away", { retryable: true }, 20],
    ["ten minutes after a failure that would only come again", { retryable: false }, 1],
  ])("%s", async (_, options, looks) => {
    const failure = new ParleyError("unavailable", "gone", options);
    const query = vi.fn(async () => Promise.reject(failure));
    const graphs = new PostgresGraphs({ database: { query } as unknown as SqlDatabase, now: () => 0 });
    graphs.notice({ tenantId: "acme", collection: "large", generation: 1 });
    const stop = new AbortController();
    const failures: unknown[] = [];
    const kept = graphs.keep((error) => failures.push(error), stop.signal);
    await vi.advanceTimersByTimeAsync(29_999);
    expect(query).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(failures).toEqual(Array.from({ length: looks }, () => failure));
    stop.abort();
    await kept;
    expect(failures).toHaveLength(looks);
  });
});
