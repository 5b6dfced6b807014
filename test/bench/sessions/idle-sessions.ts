/** What sessions cost that only ping: memory for each, and processors while all of them idle. */
import { setTimeout as sleep } from "node:timers/promises";
import type { RestartableGateway } from "../../support/session-gateway.ts";
import { quantile } from "../load.ts";
import { busyProcessors, costOf, descriptorLimitOf } from "../process-cost.ts";
import { type BenchSocket, nextFrame, openSockets } from "./bench-socket.ts";

/** As clients do; the rest of the time is the object's to hibernate. */
const PING_EVERY_MS = 25_000;
/** workerd lets go of an object that has had nothing to do for 10 s. */
const HIBERNATION_MS = 14_000;
const IDLE_MS = 10_000;
const ASKED = 50;
/** What is open by then is measured. */
const OPENING_MS_MAX = 300_000;

/** For those that are awake at the same time. */
const DESCRIPTORS_SPARE = 3_000;
/** Objects hibernate within 10 s, and give theirs back. */
const ROOM_MS_MAX = 20_000;

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
  const { roomForOne, stopWatching } = watchDescriptors(gateway.pid);
  const timers: ReturnType<typeof setInterval>[] = [];
  const onOpen = (socket: BenchSocket) => timers.push(setInterval(() => socket.send("ping"), PING_EVERY_MS));
  const sockets = await openSockets({ url: gateway.url, keys, roomForOne, onOpen }, wanted, OPENING_MS_MAX);
  stopWatching();
  const sessions = sockets.length;
  const openedPerSecond = sessions / ((performance.now() - startedAt) / 1_000);
  const openMb = costOf(gateway.pid).residentMb;
  await sleep(HIBERNATION_MS);
  const before = costOf(gateway.pid);
  await sleep(IDLE_MS);
  const after = costOf(gateway.pid);
  const wakeMs: number[] = [];
  for (let asked = 0; asked < ASKED; asked++) {
    const socket = sockets[Math.floor((asked * sessions) / ASKED)];
    if (socket) wakeMs.push(await ask(socket, asked));
  }
  for (const timer of timers) clearInterval(timer);
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

/**
 * workerd has two descriptors for each socket, and three more for each object that is awake; it ends itself when there
 * are none left. So sessions are opened only while there is room for all that the next look wakes.
 */
function watchDescriptors(groupPid: number) {
  const most = descriptorLimitOf(groupPid) - DESCRIPTORS_SPARE;
  let descriptors = 0;
  const watch = setInterval(() => {
    ({ descriptors } = costOf(groupPid));
  }, 250);
  return {
    async roomForOne() {
      const waitsUntil = performance.now() + ROOM_MS_MAX;
      while (descriptors > most && performance.now() < waitsUntil) await sleep(100);
      return descriptors <= most;
    },
    stopWatching: () => clearInterval(watch),
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
