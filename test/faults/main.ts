/**
 * `npm run faults`: what may fail does, and one table at the end says what callers saw of it. Loopback only, bounded,
 * ends by itself; ends with 1 when a goal was missed. `-- --quick` plays little of everything, `--only scenarios,kills`
 * some parts (scenarios, departures, sessions, redis, kills-shared, kills-embedded; `kills` is both), `--rounds 50` so many kills
 * of each kind, `--tasks 5` with so many answers running at each.
 */
import { parseArgs } from "node:util";
import { PARTS, type PartName, playParts } from "./parts.ts";
import { renderTable } from "./table.ts";

/** All parts side by side take about ten minutes on two busy cores; far more is a hang. */
const WHOLE_MS_MAX = 30 * 60_000;
const ROUNDS_MAX = 1_000;
const TASKS_MAX = 50;

const { values: flags } = parseArgs({
  options: {
    only: { type: "string", default: PARTS.join(",") },
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    tasks: { type: "string" },
  },
});
const only = flags.only.split(",").flatMap((name) => {
  const names = PARTS.filter((part) => part === name || part.startsWith(`${name}-`));
  if (names.length === 0) throw new Error(`--only takes of ${PARTS.join(", ")}, not ${name}`);
  return names;
}) as PartName[];

setTimeout(() => {
  console.error(`not over after ${WHOLE_MS_MAX / 60_000} minutes`);
  process.exit(1);
}, WHOLE_MS_MAX).unref();

const startedAtMs = performance.now();
const outcome = await playParts(only, {
  departures: flags.quick ? 100 : 1_000,
  sessionCuts: flags.quick ? 40 : 1_000,
  redisRounds: flags.quick ? 1 : 3,
  killRounds: countOf(flags.rounds, flags.quick ? 3 : 50, ROUNDS_MAX),
  killTasks: countOf(flags.tasks, 5, TASKS_MAX),
  isQuick: flags.quick,
  note: (line) => console.error(line),
});
if (outcome.scorecard) console.log(`${renderTable(outcome.scorecard)}\n`);
console.log(
  renderTable([
    ["part", "goal", "seen", "took", ""],
    ...outcome.rows.map(({ part, goal, seen, tookMs, problems }) => [
      ...[part, goal, seen, `${(tookMs / 1000).toFixed(0)} s`, problems.length === 0 ? "met" : "MISSED"],
    ]),
  ]),
);
for (const { part, problems } of outcome.rows)
  for (const problem of problems) console.log(`${part}: ${problem}`);
console.log(`in ${((performance.now() - startedAtMs) / 60_000).toFixed(1)} minutes`);
// What a part that failed has left behind must not keep the process.
process.exit(outcome.rows.every(({ problems }) => problems.length === 0) ? 0 : 1);

function countOf(text: string | undefined, byDefault: number, most: number): number {
  const count = text === undefined ? byDefault : Number(text);
  if (!Number.isInteger(count) || count < 1 || count > most)
    throw new Error(`a count from 1 to ${most}, not ${text}`);
  return count;
}
