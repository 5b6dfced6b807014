/** Sessions that stream at the same time, each at a fixed rate: what each delta takes, and whether they fall behind. */
import { setTimeout as sleep } from "node:timers/promises";
import type { ScriptedTask } from "../../support/scripted-tasks.ts";
import type { RestartableGateway } from "../../support/session-gateway.ts";
import { quantile } from "../load.ts";
import { busyProcessors, costOf } from "../process-cost.ts";
import { type BenchSocket, nextFrame, openSockets } from "./bench-socket.ts";

const DELTAS_PER_SECOND = 50;
const INTERVAL_MS = 1_000 / DELTAS_PER_SECOND;
/** After the last delta; who has not read it by then has fallen behind. */
const REST_MS = 1_000;

/** Times in milliseconds. */
export interface StreamingResult {
  sessions: number;
  deltasSent: number;
  deltasRead: number;
  /** From the backend's sending to the client's reading, of the oldest delta in each frame: coalescing included. */
  lagP50Ms: number;
  lagP99Ms: number;
  /** The same over the last second alone: it grows when they fall behind. */
  lastLagP50Ms: number;
  framesPerSecond: number;
  edgeProcessors: number;
  benchProcessors: number;
  fellBehind: boolean;
}

/** Streams for so long, and waits no more than a second for the rest. */
export async function measureStreaming(
  gateway: RestartableGateway,
  keys: readonly string[],
  { sessions, durationMs }: { sessions: number; durationMs: number },
): Promise<StreamingResult> {
  const sockets = await openSockets({ url: gateway.url, keys }, sessions);
  const tasks = await Promise.all(
    sockets.map((socket, index) => begin(gateway, socket, `${sessions}-${index}`)),
  );
  const lagsMs: { lagMs: number; readAt: number }[] = [];
  let deltasRead = 0;
  for (const socket of sockets) {
    socket.onFrame = ({ delta }) => {
      if (delta === undefined) return;
      const readAt = performance.now();
      deltasRead += delta.split(" ").length - 1;
      lagsMs.push({ lagMs: readAt - Number(delta.slice(0, delta.indexOf(" "))), readAt });
    };
  }
  const [edgeBefore, benchBefore] = [costOf(gateway.pid), process.cpuUsage()];
  const startedAt = performance.now();
  const deltasSent = await drive(tasks, startedAt, durationMs);
  const endedAt = performance.now();
  const edgeProcessors = busyProcessors(edgeBefore, costOf(gateway.pid), (endedAt - startedAt) / 1_000);
  const { user, system } = process.cpuUsage(benchBefore);
  await sleep(REST_MS);
  const isWhole = deltasRead === deltasSent;
  const framesPerSecond = (lagsMs.length * 1_000) / (endedAt - startedAt);
  for (const task of tasks) task.finish();
  for (const socket of sockets) socket.close();
  const lags = lagsMs.map(({ lagMs }) => lagMs);
  const lastLags = lagsMs.filter(({ readAt }) => readAt > endedAt - 1_000).map(({ lagMs }) => lagMs);
  const lastLagP50Ms = quantile(lastLags, 0.5);
  return {
    ...{ sessions, deltasSent, deltasRead, lastLagP50Ms, edgeProcessors, framesPerSecond },
    lagP50Ms: quantile(lags, 0.5),
    lagP99Ms: quantile(lags, 0.99),
    benchProcessors: (user + system) / 1_000 / (endedAt - startedAt),
    fellBehind: !isWhole || lastLagP50Ms > REST_MS / 2,
  };
}

async function begin(gateway: RestartableGateway, socket: BenchSocket, id: string): Promise<ScriptedTask> {
  const accepted = nextFrame(socket, (frame) => frame.accepted !== undefined);
  socket.send({ messageId: `stream-${id}`, receiverId: "assistant", text: "hold" });
  await accepted;
  return gateway.tasks.of(`stream-${id}`);
}

/** Each task its delta every 20 ms, at a moment of its own within them; answers how many that were. */
async function drive(tasks: readonly ScriptedTask[], startedAt: number, durationMs: number): Promise<number> {
  let sent = 0;
  const total = Math.floor((durationMs / INTERVAL_MS) * tasks.length);
  const sendDue = (dueCount: number) => {
    for (; sent < Math.min(total, dueCount); sent++) {
      tasks[sent % tasks.length]?.delta(`${performance.now().toFixed(1)} `);
    }
  };
  while (sent < total) {
    sendDue(Math.ceil(((performance.now() - startedAt) / INTERVAL_MS) * tasks.length));
    await sleep(1);
  }
  return sent;
}
