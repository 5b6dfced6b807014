/**
 * `npm run bench -- sessions`: the edge in workerd before a backend that answers at once; clients, backend and bench are
 * one process, so that they have one clock. First delta, idle sessions, sessions that stream at once up to where they
 * fall behind. Loopback only, at most eight minutes, most of it for opening 10,000 sessions. `--idle 10000`,
 * `--streaming 25,50,100,200`, `--quick`.
 */
import { existsSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { type RestartableGateway, startSessionGateway } from "../../support/session-gateway.ts";
import { renderTable } from "../report.ts";
import { type FirstDeltaResult, measureFirstDelta } from "./first-delta.ts";
import { type IdleResult, measureIdle } from "./idle-sessions.ts";
import { measureStreaming, type StreamingResult } from "./streaming-sessions.ts";

/** 10,000 sessions take minutes to open. */
const WHOLE_MS_MAX = 480_000;
/** High enough that nobody meets them. */
const LIMITS = { requestsPerMinute: 1_000_000, tokensPerMinute: 1e9, tenantTokensPerMinute: 1e9 };
/** A caller may have 10,000 sessions. */
const KEYS = 4;
const MEMORY_DIRECTORY = "/dev/shm";

/** Prints what the arguments ask for. */
export async function runSessionsBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      idle: { type: "string" },
      streaming: { type: "string" },
    },
  });
  const { quick } = values;
  const idle = Number(values.idle ?? (quick ? 500 : 10_000));
  const steps = (values.streaming ?? (quick ? "25" : "25,50,100,200")).split(",").map(Number);
  const timer = setTimeout(() => {
    console.error(`stopped after ${WHOLE_MS_MAX / 1_000} s`);
    process.exit(1);
  }, WHOLE_MS_MAX);
  await withGateway(tmpdir(), async (gateway, keys) => {
    renderFirst(await measureFirstDelta(gateway, keys[0] ?? "", quick ? 50 : 200));
    console.log("\nstreaming at 50 deltas/s each; times in milliseconds");
    const results: StreamingResult[] = [];
    for (const sessions of steps) {
      const result = await measureStreaming(gateway, keys, { sessions, durationMs: quick ? 2_000 : 4_000 });
      results.push(result);
      if (result.fellBehind) break;
    }
    renderStreaming(results);
  });
  if (idle > 0) {
    // Every new session waits for the disk some times; what it has of memory has nothing to do with that.
    const directory = existsSync(MEMORY_DIRECTORY) ? MEMORY_DIRECTORY : tmpdir();
    await withGateway(directory, async (gateway, keys) => renderIdle(await measureIdle(gateway, keys, idle)));
  }
  clearTimeout(timer);
  console.log(`\nload of the machine: ${loadavg()[0]?.toFixed(1)}`);
  // Sockets that workerd ends late would keep the process.
  process.exit(0);
}

async function withGateway(
  parentDirectory: string,
  measure: (gateway: RestartableGateway, keys: readonly string[]) => Promise<void>,
): Promise<void> {
  const gateway = await startSessionGateway({ parentDirectory });
  try {
    const keys: string[] = [];
    for (let key = 0; key < KEYS; key++) keys.push((await gateway.neon.addKey(LIMITS)).apiKey);
    await measure(gateway, keys);
  } finally {
    await gateway.stop();
  }
}

function renderFirst(result: FirstDeltaResult): void {
  const figure = (ms: number) => ms.toFixed(1);
  console.log(
    `first delta of ${result.turns} turns, from the backend to the client: p50 ${figure(result.firstP50Ms)} ms, ` +
      `p99 ${figure(result.firstP99Ms)} ms; a later one after a pause: p50 ${figure(result.laterP50Ms)} ms, ` +
      `p99 ${figure(result.laterP99Ms)} ms`,
  );
}

function renderStreaming(results: readonly StreamingResult[]): void {
  const headings = "sessions,deltas/s,frames/s,lag p50,lag p99,last second p50,edge CPUs,bench CPUs,kept up";
  const rows = results.map((result) => [
    String(result.sessions),
    String(result.sessions * 50),
    result.framesPerSecond.toFixed(0),
    result.lagP50Ms.toFixed(0),
    result.lagP99Ms.toFixed(0),
    result.lastLagP50Ms.toFixed(0),
    result.edgeProcessors.toFixed(2),
    result.benchProcessors.toFixed(2),
    result.fellBehind ? `no: read ${result.deltasRead} of ${result.deltasSent}` : "yes",
  ]);
  console.log(renderTable([headings.split(","), ...rows]));
}

function renderIdle(result: IdleResult): void {
  const mb = (figure: number) => `${figure.toFixed(0)} MB`;
  console.log(
    [
      `\n${result.sessions} idle sessions in one workerd, opened at ${result.openedPerSecond.toFixed(0)} per second:`,
      `  memory ${mb(result.bareMb)} before, ${mb(result.openMb)} when they were open, ${mb(result.idleMb)} when they idled: ` +
        `${result.idleKbPerSession.toFixed(1)} KB each`,
      `  ${result.descriptors} descriptors; ${(result.idleProcessors * 100).toFixed(1)} % of a processor; ` +
        `${result.openAtEnd} connections open at the end`,
      `  a message to one of them: p50 ${result.wakeP50Ms.toFixed(1)} ms, p99 ${result.wakeP99Ms.toFixed(1)} ms to the whole answer`,
    ].join("\n"),
  );
}
