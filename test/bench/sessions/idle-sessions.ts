/** What sessions cost that only ping: memory for each, and processors while all of them idle. */
import { setTimeout as sleep } from "node:timers/promises";
import type { RestartableGateway } from "../../support/session-gateway.ts";
import { quantile } from "../load.ts";
import { busyProcessors, costOf } from "../process-cost.ts";
import { type BenchSocket, nextFrame, openSockets } from "./bench-socket.ts";

/** As clients do; the rest of the time is the object's to hibernate. */
const PING_EVERY_MS = 25_000;
/** workerd lets go of an object that has had nothing to do for 10 s. */
const HIBERNATION_MS = 14_000;
const IDLE_MS = 10_000;
const ASKED = 50;
/** What is open by then is measured. */
const OPENING_MS_MAX = 80_000;

/** See the file. */
export interface IdleResult {
  sessions: number;
  openedPerSecond: number;
  bareMb: number;
  openMb: number;
  idleMb: number;
  idleKbPerSession: number;
  descriptors: number;
  idleProcessors: number;
  /** Connections that are open still at the end; all of them should be. */
  openAtEnd: number;
  wakeP50Ms: number;
  wakeP99Ms: number;
}

/** Opens as many as are wanted, or as there is time for; lets them idle, and asks some of them something. */
export async function measureIdle(
  gateway: RestartableGateway,
  keys: readonly string[],
  wanted: number,
): Promise<IdleResult> {
  const bareMb = costOf(gateway.pid).residentMb;
  const startedAt = performance.now();
  const sockets = await openSockets({ url: gateway.url, keys }, wanted, OPENING_MS_MAX);
  const sessions = sockets.length;
  const openedPerSecond = sessions / ((performance.now() - startedAt) / 1_000);
  const openMb = costOf(gateway.pid).residentMb;
  // Those that were opened first have been silent for as long as it took.
  for (const socket of sockets) socket.send("ping");
  const pings = setInterval(() => {
    for (const socket of sockets) socket.send("ping");
  }, PING_EVERY_MS);
  await sleep(HIBERNATION_MS);
  const before = costOf(gateway.pid);
  await sleep(IDLE_MS);
  const after = costOf(gateway.pid);
  const wakeMs: number[] = [];
  for (let asked = 0; asked < ASKED; asked++) {
    const socket = sockets[Math.floor((asked * sessions) / ASKED)];
    if (socket) wakeMs.push(await ask(socket, asked));
  }
  clearInterval(pings);
  const openAtEnd = sockets.filter(({ isOpen }) => isOpen).length;
  for (const socket of sockets) socket.close();
  return {
    sessions,
    openedPerSecond,
    bareMb,
    openMb,
    idleMb: after.residentMb,
    idleKbPerSession: ((after.residentMb - bareMb) * 1_024) / sessions,
    descriptors: after.descriptors,
    idleProcessors: busyProcessors(before, after, IDLE_MS / 1_000),
    openAtEnd,
    wakeP50Ms: quantile(wakeMs, 0.5),
    wakeP99Ms: quantile(wakeMs, 0.99),
  };
}

/** From the message to the end of its answer, which the backend has at once. */
async function ask(socket: BenchSocket, turn: number): Promise<number> {
  const sentAt = performance.now();
  const answered = nextFrame(socket, (frame) => frame.content !== undefined);
  socket.send({ messageId: `wake-${turn}`, receiverId: "assistant", text: "hello" });
  await answered;
  return performance.now() - sentAt;
}
