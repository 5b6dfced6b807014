/**
 * `npm run bench -- messages`: the mock provider (20 ms to its answer) called directly, through the backend alone over gRPC, and
 * through edge and backend; one table with ratios, and the machine's noise. Loopback only, bounded, ends by itself.
 * `--quick` is a short run, `--connections 16` one load.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { raiseLimits } from "../faults/scene.ts";
import { startGateway } from "../support/gateway.ts";
import { makeKeys } from "./keys.ts";
import { type LoadResult, runLoad } from "./load.ts";
import { MOCK_LATENCY_MS, MOCK_MODEL } from "./mock-settings.ts";
import { type Row, renderReport } from "./report.ts";
import { backendTarget, directTarget, edgeTarget, type Target } from "./targets.ts";

const { values: flags } = parseArgs({
  args: process.argv.slice(2).filter((argument) => argument !== "messages"),
  options: {
    quick: { type: "boolean", default: false },
    connections: { type: "string", default: "1,16,64" },
  },
});
const CONNECTIONS = flags.connections.split(",").map(Number);
/** A run ends after this many requests, however long it has. */
const REQUESTS_MAX = 100_000;
/** The direct runs at the middle load are repeated between the others; their spread is the machine's noise. */
const NOISE_CONNECTIONS = 16;
const WARM_UP_CONNECTIONS = 32;
/** Callers that take turns in the last row of each load: what a cache of one key would hide. */
const KEYS = 2_000;
const KEYS_LIMIT_MS = 60_000;

const { quick } = flags;
const durationMs = quick ? 1_500 : 6_000;
const warmUpMs = quick ? 500 : 2_000;
const streamedMs = quick ? 1_000 : 3_000;

const mock = fork(fileURLToPath(new URL("mock-provider.ts", import.meta.url)));
const [{ url: mockUrl }] = (await once(mock, "message")) as [{ url: string }];
const environment = {
  OPENAI_BASE_URL: mockUrl,
  OPENAI_API_KEY: "bench",
  OPENAI_MODEL: MOCK_MODEL,
  LOG_LEVEL: "warn",
};
const gateway = await startGateway({ environment });

/** Limits stay on, and high enough that nobody meets them. */
await raiseLimits(gateway.database);
const keys = await makeKeys(gateway.database, KEYS);
/** The same without limits: what they cost is the difference. Started last: Neon's driver knows one endpoint, the newest. */
const unlimited = await startGateway({ environment: { ...environment, LIMITS_ENABLED: "false" } });

try {
  // Compilers first: a path that has run a hundred times takes several times as long as one that has run thousands.
  for (const { url, key } of [unlimited, gateway]) {
    const warmUp = edgeTarget(url, [key], WARM_UP_CONNECTIONS);
    const load = { connections: WARM_UP_CONNECTIONS, requestsMax: REQUESTS_MAX };
    await runLoad(warmUp.whole, { ...load, durationMs: 2 * durationMs });
    await runLoad(warmUp.streamed, { ...load, durationMs });
    await warmUp.close();
  }
  // Every key once: the row of many keys is about keys that are known, not about their first use.
  const everyKey = edgeTarget(gateway.url, keys, WARM_UP_CONNECTIONS);
  const firstUses = await runLoad(everyKey.whole, {
    connections: WARM_UP_CONNECTIONS,
    durationMs: KEYS_LIMIT_MS,
    requestsMax: KEYS,
  });
  await everyKey.close();
  const rows: Row[] = [];
  const noise: LoadResult[] = [];
  for (const connections of CONNECTIONS) {
    const targets: Target[] = [
      directTarget(mockUrl, MOCK_MODEL, connections),
      backendTarget(gateway.backendUrl, gateway.key, connections),
      edgeTarget(gateway.url, [gateway.key], connections),
      { ...edgeTarget(unlimited.url, [unlimited.key], connections), name: "edge, limits off" },
      { ...edgeTarget(gateway.url, keys, connections), name: `edge, ${KEYS} keys` },
    ];
    for (const target of targets) {
      process.stderr.write(`${target.name}, ${connections} connections …\n`);
      await runLoad(target.whole, { connections, durationMs: warmUpMs, requestsMax: REQUESTS_MAX });
      const whole = await runLoad(target.whole, { connections, durationMs, requestsMax: REQUESTS_MAX });
      const streamed = await runLoad(target.streamed, {
        connections,
        durationMs: streamedMs,
        requestsMax: REQUESTS_MAX,
      });
      rows.push({ target: target.name, connections, whole, streamed });
      await target.close();
      const direct = directTarget(mockUrl, MOCK_MODEL, NOISE_CONNECTIONS);
      const options = { connections: NOISE_CONNECTIONS, durationMs: streamedMs, requestsMax: REQUESTS_MAX };
      noise.push(await runLoad(direct.whole, options));
      await direct.close();
    }
  }
  console.log(renderReport(rows, noise, MOCK_LATENCY_MS));
  console.log(
    `first use of each of ${KEYS} keys: p50 ${firstUses.p50Ms.toFixed(1)}, p99 ${firstUses.p99Ms.toFixed(1)} ms`,
  );
} finally {
  for (const started of [gateway, unlimited]) {
    await started.stop();
    started.remove();
  }
  mock.disconnect();
}
