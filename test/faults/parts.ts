/** The parts of `npm run faults`: each is started with what it needs, played within a bound, and held to its goal. */
import { quantile } from "../bench/load.ts";
import { BENCH_TIMES } from "../support/failover-scenarios.ts";
import { startGateway } from "../support/gateway.ts";
import { startSessionGateway } from "../support/session-gateway.ts";
import { startWall } from "../support/wall.ts";
import { runSessionCuts } from "./cut-sessions.ts";
import { interruptRedis } from "./interrupt-redis.ts";
import { type KillOptions, killBackends } from "./kill-backends.ts";
import { leaveAndReturn } from "./leave-and-return.ts";
import { playScenarios } from "./play-scenarios.ts";
import { raiseLimits } from "./scene.ts";
import { belowGoal, countsOf, scorecardRows } from "./scorecard.ts";

/** Their names. */
export const PARTS = [
  "scenarios",
  "departures",
  "sessions",
  "redis",
  "kills-shared",
  "kills-embedded",
] as const;

/** One of them. */
export type PartName = (typeof PARTS)[number];

/** Those that take no long silence to play. */
const QUICK_SCENARIOS = ["S03", "S05", "S08", "S10", "S11", "S12", "S13", "S14", "S16"];
/** So that answers last more than a second, and are left in the middle. */
const TOKEN_INTERVAL_MS = 20;
const CONVERSATIONS = 6;
/** A backend's lease, the quarter more until another one looks, and what that one needs. */
const TAKEOVER_MS_MAX = 5_000;

/** How much of each is played, and who is told how it goes on. */
export interface PartOptions {
  readonly departures: number;
  readonly sessionCuts: number;
  readonly redisRounds: number;
  readonly killRounds: number;
  readonly killTasks: number;
  readonly isQuick: boolean;
  readonly note: (line: string) => void;
}

/** A row of the table. */
export interface PartRow {
  readonly part: string;
  readonly goal: string;
  readonly seen: string;
  readonly tookMs: number;
  /** Empty when the goal was met. */
  readonly problems: readonly string[];
}

/** All of it. */
export interface PartsOutcome {
  readonly rows: readonly PartRow[];
  /** Where scenarios were played. */
  readonly scorecard: string[][] | undefined;
}

type Row = Omit<PartRow, "part" | "tookMs">;

/** Plays parts that mostly wait side by side, those that keep a processor busy one after another. */
export async function playParts(names: readonly PartName[], options: PartOptions): Promise<PartsOutcome> {
  let scorecard: string[][] | undefined;
  const onGateway = names.filter((name) => name === "scenarios" || name === "departures");
  const rows: PartRow[] = [];
  const run = async (part: PartName, play: () => Promise<Row>) => {
    if (!names.includes(part)) return;
    options.note(`${part} …`);
    const startedAtMs = performance.now();
    const row = await play().catch(
      (error): Row => ({ goal: "", seen: "", problems: [String(error?.stack ?? error)] }),
    );
    rows.push({ ...row, part, tookMs: performance.now() - startedAtMs });
    options.note(`${part}: ${row.seen} ${row.problems.join("; ")}`);
  };
  const gatewayLane = async () => {
    if (onGateway.length > 0) {
      await withGateway(async (scene) => {
        await run("scenarios", async () => {
          const { row, card } = await scenariosRow(scene, options);
          scorecard = card;
          return row;
        });
        await run("departures", () => departuresRow(scene, options));
      });
    }
    await run("sessions", () => sessionsRow(options));
    await run("redis", () => redisRow(options));
  };
  await Promise.all([
    gatewayLane(),
    (async () => {
      await run("kills-shared", () => killsRow("shared", options));
      await run("kills-embedded", () => killsRow("embedded", options));
    })(),
  ]);
  return { rows: PARTS.flatMap((name) => rows.filter(({ part }) => part === name)), scorecard };
}

type GatewayScene = Awaited<ReturnType<typeof openGateway>>;

async function openGateway() {
  const wall = await startWall({ times: BENCH_TIMES, tokenIntervalMs: TOKEN_INTERVAL_MS });
  const gateway = await startGateway({
    environment: { OPENAI_BASE_URL: wall.baseUrl, OPENAI_API_KEY: "wall", OPENAI_MODEL: "healthy" },
  });
  await raiseLimits(gateway.database);
  return { wall, gateway };
}

async function withGateway(play: (scene: GatewayScene) => Promise<void>): Promise<void> {
  const scene = await openGateway();
  try {
    await play(scene);
  } finally {
    await scene.gateway.stop();
    scene.gateway.remove();
    await scene.wall.close();
  }
}

async function scenariosRow(scene: GatewayScene, { isQuick }: PartOptions) {
  const played = await playScenarios({
    ...scene,
    times: BENCH_TIMES,
    ...(isQuick && { ids: QUICK_SCENARIOS }),
  });
  const row: Row = {
    goal: "all pass on SSE, gRPC and held-back completions; no fail on live completions",
    seen: countsOf(played),
    problems: belowGoal(played),
  };
  return { row, card: scorecardRows(played) };
}

async function departuresRow({ gateway }: GatewayScene, { departures }: PartOptions): Promise<Row> {
  const report = await leaveAndReturn({ gateway, agentId: "assistant", departures });
  return {
    goal: `${departures} departures of followers: no event lost, none twice, the same bytes for all`,
    seen: `${report.departures} departures from ${report.answers} answers, ${report.events} events`,
    problems: report.problems,
  };
}

async function sessionsRow({ sessionCuts }: PartOptions): Promise<Row> {
  const gateway = await startSessionGateway();
  try {
    const report = await runSessionCuts({ gateway, rounds: sessionCuts, random: Math.random });
    return {
      goal: `${sessionCuts} cuts of a WebSocket session's connections: no frame lost, none twice, in order`,
      seen: `${report.connections} connections, ${report.messages} messages, ${report.events} events`,
      problems: [...report.faults, ...report.wrongAnswers.map((id) => `${id}: not the answer`)],
    };
  } finally {
    await gateway.stop();
  }
}

async function redisRow({ redisRounds }: PartOptions): Promise<Row> {
  const report = await interruptRedis({ rounds: redisRounds, conversations: CONVERSATIONS });
  return {
    goal: "Redis stopped, killed, restarted under load: every answer in time and once, conversations whole",
    seen: `${report.interruptions} interruptions, ${report.messages} messages in ${report.conversations} conversations, slowest ${(report.slowestMs / 1000).toFixed(1)} s, ${report.askedAgain} asked again of the model`,
    problems: report.problems,
  };
}

async function killsRow(
  mode: KillOptions["mode"],
  { killRounds, killTasks, note }: PartOptions,
): Promise<Row> {
  const report = await killBackends({
    ...{ mode, rounds: killRounds, tasks: killTasks },
    onRound: (round, gapMs) =>
      note(`kills-${mode}: ${round} of ${killRounds}, gap ${gapMs?.toFixed(0) ?? "none"} ms`),
  });
  const gap = (q: number) => `${(quantile(report.gapsMs, q) / 1000).toFixed(1)} s`;
  const again = report.sentAgain > 0 ? ` (${report.sentAgain} sent again)` : "";
  const late = report.gapsMs.filter((ms) => ms > TAKEOVER_MS_MAX).length;
  return {
    goal: `${killRounds} SIGKILLs in mid-answer (${mode}): every answer whole, once, the same for all`,
    seen: `${report.whole} rounds and ${report.answers} of ${killRounds * killTasks} answers whole${again}; next event after p50 ${gap(0.5)}, p95 ${gap(0.95)}, most ${gap(1)}; ${late} over ${TAKEOVER_MS_MAX / 1000} s`,
    problems: report.problems,
  };
}
