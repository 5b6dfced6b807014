/**
 * `npm run bench -- gates`: what authentication, limits and the durable log add to a message, warm, and whether many
 * keys cost more than one. The variants take turns in short rounds, so that the machine's moods meet all of them
 * alike; a difference is the median over the rounds. Loopback only, bounded, ends by itself.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { raiseLimits } from "../../faults/scene.ts";
import { startGateway } from "../../support/gateway.ts";
import { makeKeys } from "../keys.ts";
import { type LoadResult, quantile, runLoad } from "../load.ts";
import { MOCK_MODEL } from "../mock-settings.ts";
import { costOf } from "../process-cost.ts";
import { renderTable } from "../report.ts";
import { edgeTarget, type Target } from "../targets.ts";
import { measureAuthentication } from "./authentication.ts";

/** Callers that take turns: what a cache of one key would hide. */
const KEYS = 2_000;
const ROUNDS = 8;
const ROUND_MS = 2_000;
const REQUESTS_MAX = 20_000;
const WARM_UP_MS = 10_000;
const WARM_UP_CONNECTIONS = 16;
/** Of one caller, and of a few: at one, a request waits for nothing but its own work. */
const CONNECTIONS = [1, 8];

interface Variant {
  readonly name: string;
  target(connections: number): Target;
  processorTimeMs(): number;
}

interface Round extends LoadResult {
  readonly processorMs: number;
}

/** Runs it and prints its table. */
export async function runGatesBench(): Promise<void> {
  const mock = fork(fileURLToPath(new URL("../mock-provider.ts", import.meta.url)));
  const [{ url }] = (await once(mock, "message")) as [{ url: string }];
  const environment = {
    ...{ OPENAI_BASE_URL: url, OPENAI_API_KEY: "bench", OPENAI_MODEL: MOCK_MODEL, LOG_LEVEL: "warn" },
  };
  const off = { ...environment, LIMITS_ENABLED: "false" };
  const startScript = "test/bench/gates/start-without-log.ts";
  const all = await startGateway({ environment });
  const started = [all];
  try {
    await raiseLimits(all.database);
    const keys = await makeKeys(all.database, KEYS);
    // Only now: Neon's driver knows one endpoint, the newest.
    const unlimited = await startGateway({ environment: off });
    started.push(unlimited);
    const unlogged = await startGateway({ environment: off, startScript });
    started.push(unlogged);
    const variant = (name: string, gateway: typeof all, using = [gateway.key]): Variant => {
      const groups = gateway.record.children.map(({ pid }) => pid);
      return {
        name,
        target: (connections) => edgeTarget(gateway.url, using, connections),
        processorTimeMs: () => 1_000 * groups.reduce((sum, pid) => sum + costOf(pid).cpuSeconds, 0),
      };
    };
    const variants = [
      variant("all on", all),
      variant(`all on, ${KEYS} keys`, all, keys),
      variant("limits off", unlimited),
      variant("limits and log off", unlogged),
    ];
    for (const { name, target } of variants) {
      process.stderr.write(`warming up: ${name} …\n`);
      await load(target, WARM_UP_CONNECTIONS, WARM_UP_MS);
    }
    const authentication = await measureAuthentication();
    for (const connections of CONNECTIONS) console.log(await compare(variants, connections));
    console.log(`authentication, warm, in process: p50 ${authentication.toFixed(3)} ms of a key at the edge`);
  } finally {
    for (const gateway of started) {
      await gateway.stop();
      gateway.remove();
    }
    mock.disconnect();
  }
}

async function load(target: Variant["target"], connections: number, durationMs: number): Promise<LoadResult> {
  const open = target(connections);
  const result = await runLoad(open.whole, { connections, durationMs, requestsMax: REQUESTS_MAX });
  await open.close();
  return result;
}

async function compare(variants: readonly Variant[], connections: number): Promise<string> {
  const rounds = new Map<string, Round[]>(variants.map(({ name }) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    process.stderr.write(`${connections} connections, round ${round + 1} of ${ROUNDS} …\n`);
    for (const { name, target, processorTimeMs: spent } of variants) {
      const before = spent();
      const result = await load(target, connections, ROUND_MS);
      rounds.get(name)?.push({ ...result, processorMs: (spent() - before) / result.requests });
    }
  }
  const base = rounds.get(variants.at(-1)?.name ?? "") ?? [];
  const rows = [...rounds].map(([name, results]) => [
    name,
    String(connections),
    median(results.map(({ p50Ms }) => p50Ms)),
    median(results.map(({ p50Ms }, round) => p50Ms - (base[round]?.p50Ms ?? Number.NaN))),
    median(results.map(({ p99Ms }) => p99Ms)),
    median(results.map(({ processorMs }) => processorMs)),
    String(results.reduce((sum, { failures }) => sum + failures, 0)),
  ]);
  const headings = ["gates", "conns", "p50 ms", "added p50", "p99 ms", "CPU ms/request", "failed"];
  return `${renderTable([headings, ...rows])}\n`;
}

function median(values: readonly number[]): string {
  return quantile(values, 0.5).toFixed(2);
}
