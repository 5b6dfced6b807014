/** The bench's table. */
import type { LoadResult } from "./load.ts";

/** One target at one load. */
export interface Row {
  target: string;
  connections: number;
  /** Whole replies. */
  whole: LoadResult;
  /** Streamed replies, for the time to the first token. */
  streamed: LoadResult;
}

const HEADINGS = [
  "target",
  "conns",
  "req/s",
  "÷ direct",
  "p50 ms",
  "p99 ms",
  "added p50",
  "added p99",
  "first token p50",
  "added first token",
  "failed",
];

/** All rows, each beside the direct run of its load, and the spread of the repeated direct runs. */
export function renderReport(
  rows: readonly Row[],
  noise: readonly LoadResult[],
  mockLatencyMs: number,
): string {
  const lines = rows.map((row) => {
    const direct = rows.find(
      ({ target, connections }) => target === "direct" && connections === row.connections,
    );
    const base = direct ?? row;
    return [
      row.target,
      String(row.connections),
      row.whole.requestsPerSecond.toFixed(0),
      (row.whole.requestsPerSecond / base.whole.requestsPerSecond).toFixed(2),
      row.whole.p50Ms.toFixed(1),
      row.whole.p99Ms.toFixed(1),
      (row.whole.p50Ms - base.whole.p50Ms).toFixed(1),
      (row.whole.p99Ms - base.whole.p99Ms).toFixed(1),
      (row.streamed.firstTokenP50Ms ?? Number.NaN).toFixed(1),
      ((row.streamed.firstTokenP50Ms ?? Number.NaN) - (base.streamed.firstTokenP50Ms ?? Number.NaN)).toFixed(
        1,
      ),
      String(row.whole.failures + row.streamed.failures),
    ];
  });
  const rates = noise.map(({ requestsPerSecond }) => requestsPerSecond);
  const medians = noise.map(({ p50Ms }) => p50Ms);
  return [
    `mock provider: ${mockLatencyMs} ms to the answer; times in milliseconds`,
    "",
    renderTable([HEADINGS, ...lines]),
    "",
    `noise: ${noise.length} direct runs between the others: ${spread(rates)} req/s, p50 ${spread(medians)} ms`,
  ].join("\n");
}

function spread(values: readonly number[]): string {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const percent = (100 * (high - low)) / low;
  return `${low.toFixed(1)} to ${high.toFixed(1)} (${percent.toFixed(0)} %)`;
}

/** Rows, the headings first, as a table of plain text. */
export function renderTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join("  "),
    )
    .join("\n");
}
