/**
 * `npm run bench:memory`: the resident memory of one backend over 100,000 messages, with a figure at each 10,000. On
 * PostgreSQL and Redis, or with `-- --embedded` with nothing configured, where the database is part of the process. The
 * mock provider answers at once; a quarter of the messages go on with conversations. Loopback only, bounded, ends by
 * itself; `-- --messages 20000` is a short run.
 */
import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openEmbedded, openShared } from "../faults/scene.ts";
import { agentsAt } from "../support/persistent-caller.ts";

const { values: flags } = parseArgs({
  options: {
    embedded: { type: "boolean", default: false },
    messages: { type: "string", default: "100000" },
  },
});
const MESSAGES = Number(flags.messages);
const FIGURES = 10;
const CALLERS = 32;
/** Callers that share a connection, as in a client with a pool. */
const CALLERS_PER_CONNECTION = 8;
/** Conversations that are gone on with; over the whole run each gets some ten turns. */
const CONVERSATIONS = 2_500;
const CONTINUED_SHARE = 0.25;
const WHOLE_MS_MAX = 20 * 60_000;
const CALL_MS_MAX = 30_000;
const QUESTION = "How does a gateway keep its callers from noticing a failure?";

const signal = AbortSignal.timeout(WHOLE_MS_MAX);
const mock = fork(fileURLToPath(new URL("mock-provider.ts", import.meta.url)), ["0"]);
const [{ url: baseUrl }] = (await once(mock, "message")) as [{ url: string }];
const scene = await (flags.embedded ? openEmbedded({ baseUrl }) : openShared({ baseUrl }, 1));
try {
  const [backend] = scene.backends;
  if (!backend) throw new Error("no backend");
  const clients = Array.from({ length: CALLERS / CALLERS_PER_CONNECTION }, () => agentsAt(backend.url));
  let [sent, failed, answered] = [0, 0, 0];
  const firstMb = residentMb(backend.pid);
  console.log(`messages  resident MB  failed  messages/s\n${line(0, firstMb, 0, 0)}`);
  let sinceMs = performance.now();
  let lastMb = firstMb;
  const figures: number[] = [];
  const note = () => {
    lastMb = residentMb(backend.pid);
    figures.push(lastMb);
    const perSecond = (MESSAGES / FIGURES / (performance.now() - sinceMs)) * 1_000;
    sinceMs = performance.now();
    console.log(line(answered + failed, lastMb, failed, perSecond));
  };
  const caller = async (index: number) => {
    const agents = clients[index % clients.length];
    while (sent < MESSAGES && !signal.aborted) {
      sent++;
      const isContinued = Math.random() < CONTINUED_SHARE;
      const contextId = isContinued ? `context-${Math.floor(Math.random() * CONVERSATIONS)}` : "";
      const message = { receiverId: "assistant", text: QUESTION, contextId };
      try {
        await agents?.processMessage(message, { headers: scene.headers, timeoutMs: CALL_MS_MAX });
        answered++;
      } catch {
        failed++;
      }
      if ((answered + failed) % (MESSAGES / FIGURES) === 0) note();
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, (_, index) => caller(index)));
  const half = figures.slice(figures.length / 2);
  const most = Math.max(...half);
  const growth = ((half.at(-1) ?? 0) / (half[0] ?? 1) - 1) * 100;
  console.log(
    `second half: ${growth.toFixed(1)} % from its first to its last figure, at most ${most.toFixed(0)} MB`,
  );
  if (signal.aborted) console.log(`stopped after ${WHOLE_MS_MAX / 60_000} minutes`);
} finally {
  await scene.close();
  mock.disconnect();
}
process.exit(0);

function line(messages: number, mb: number, failures: number, perSecond: number): string {
  const cells = [String(messages).padStart(8), mb.toFixed(1).padStart(11), String(failures).padStart(6)];
  return [...cells, perSecond.toFixed(0).padStart(10)].join("  ");
}

function residentMb(pid: number | undefined): number {
  return Number(execFileSync("ps", ["-o", "rss=", "-p", String(pid)], { encoding: "utf8" })) / 1024;
}
