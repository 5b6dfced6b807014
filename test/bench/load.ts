/** A closed loop of callers: each sends its next request when the last one has been answered. */

/** One request; resolves when it has been answered, with the time to the first token where there is one. */
export type Shot = (worker: number) => Promise<{ firstTokenMs?: number } | undefined>;

/** What was measured. Times in milliseconds. */
export interface LoadResult {
  requests: number;
  failures: number;
  requestsPerSecond: number;
  p50Ms: number;
  p99Ms: number;
  firstTokenP50Ms: number | undefined;
}

/** Bounds of a run; it ends by whichever comes first. */
export interface LoadOptions {
  connections: number;
  durationMs: number;
  requestsMax: number;
}

/** Runs the load; a failed request counts as a failure and nothing else. */
export async function runLoad(shot: Shot, options: LoadOptions): Promise<LoadResult> {
  const latencies: number[] = [];
  const firstTokens: number[] = [];
  let failures = 0;
  let started = 0;
  const startedAt = performance.now();
  const endsAt = startedAt + options.durationMs;

  async function caller(worker: number): Promise<void> {
    while (performance.now() < endsAt && started < options.requestsMax) {
      started += 1;
      const sentAt = performance.now();
      try {
        const outcome = await shot(worker);
        latencies.push(performance.now() - sentAt);
        if (outcome?.firstTokenMs !== undefined) firstTokens.push(outcome.firstTokenMs);
      } catch {
        failures += 1;
      }
    }
  }

  await Promise.all(Array.from({ length: options.connections }, (_, worker) => caller(worker)));
  const seconds = (performance.now() - startedAt) / 1000;
  return {
    requests: latencies.length,
    failures,
    requestsPerSecond: latencies.length / seconds,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    firstTokenP50Ms: firstTokens.length > 0 ? quantile(firstTokens, 0.5) : undefined,
  };
}

/** The value below which the share `q` of the values lies (nearest rank); NaN of nothing. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}
