/**
 * The sixteen scenarios of Failover Bench (failoverbench/failoverbench, methodology 0.1): which fault, what is asked,
 * and how what was seen is judged. Pure: whatever plays them (the model manager in a unit test, a whole gateway on
 * any wire) reports what it saw, and is judged by the same rules.
 */
import { CANONICAL_TEXT, CANONICAL_TOKENS } from "./double-answer.ts";

/** How long the faults last, milliseconds. */
export interface FaultTimes {
  /** S07: before the first token. */
  readonly slowMs: number;
  /** S09: silence in the middle, before the stream is closed; the wall's `stallMs`. */
  readonly stallMs: number;
  /** S15: of the outage, and between two of its requests. */
  readonly outageMs: number;
  readonly requestIntervalMs: number;
}

/** As in the catalogue. */
export const BENCH_TIMES: FaultTimes = {
  slowMs: 20_000,
  stallMs: 30_000,
  outageMs: 60_000,
  requestIntervalMs: 4_000,
};

/** A request as the wall saw it. */
export interface WallAttempt {
  readonly model: string;
  /** By `performance.now()`. */
  readonly atMs: number;
}

/** A reply as the caller saw it: a text, or an error, or neither when it never ended. */
export interface ObservedReply {
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly text?: string | undefined;
  /** The model's name as the wall knows it. */
  readonly model?: string | undefined;
  readonly outputTokens?: number | undefined;
  readonly error?: { readonly code: string; readonly detail?: string | undefined } | undefined;
}

/** All that was seen of one scenario. */
export interface Observation {
  /** To the primary and to the fallback, in order. */
  readonly attempts: readonly WallAttempt[];
  readonly replies: readonly ObservedReply[];
  /** Whether a healthy request was answered afterwards. */
  readonly aliveAfterwards: boolean;
}

/** One thing that must, or should, hold. */
export interface Check {
  readonly name: string;
  readonly holds: (seen: Seen) => boolean;
}

/** An observation, with what the checks ask of it. */
interface Seen extends Observation {
  readonly scenario: FailoverScenario;
  /** Times of the attempts on the primary, since the first of them. */
  readonly primaryMs: readonly number[];
  readonly fallbackMs: readonly number[];
}

/** A scenario. */
export interface FailoverScenario {
  readonly id: string;
  readonly fault: string;
  /** Names of models at the wall; the name is the fault. */
  readonly primary: string;
  readonly fallback: string;
  /** Which list of an agent the fallback belongs into. */
  readonly fallbackFor: "any" | "context-window";
  readonly requests: number;
  readonly expects: "answer" | "error";
  readonly required: readonly Check[];
  readonly advisory: readonly Check[];
}

/** `pass`: whole answer (or the error that is expected), every check clean. `safe`: no answer, a clean error. */
export type Verdict = "pass" | "partial" | "safe" | "fail";

/** A verdict, and the names of the checks that failed. */
export interface Judgement {
  readonly verdict: Verdict;
  readonly failed: readonly string[];
}

const BOUNDED_MS = 100_000;

const check = (name: string, holds: Check["holds"]): Check => ({ name, holds });
const attemptsAtMost = (most: number, withinMs = Number.POSITIVE_INFINITY) =>
  check(
    `at most ${most} attempts on the primary in ${withinMs} ms`,
    ({ primaryMs }) => primaryMs.filter((ms) => ms <= withinMs).length <= most,
  );
const attemptsAtLeast = (least: number) =>
  check(`at least ${least} attempts on the primary`, ({ primaryMs }) => primaryMs.length >= least);
const exactlyOne = check("exactly one attempt on the primary", ({ primaryMs }) => primaryMs.length === 1);
const endsWithin = (mostMs: number) =>
  check(`ends within ${mostMs} ms`, ({ replies }) =>
    replies.every(({ startedAtMs, endedAtMs }) => endedAtMs - startedAtMs <= mostMs),
  );
const answered = check("answered", ({ replies }) => replies.every(isWhole));
const alive = check("alive afterwards", ({ aliveAfterwards }) => aliveAfterwards);
const failsOverWithin = (mostMs: number) =>
  check(
    `fails over within ${mostMs} ms`,
    ({ primaryMs, fallbackMs }) => (fallbackMs[0] ?? Number.POSITIVE_INFINITY) - (primaryMs[0] ?? 0) < mostMs,
  );

/** The scenarios, in the order of their ids; names of models are unique, so all of them can share a wall. */
export function failoverScenarios(times: FaultTimes): FailoverScenario[] {
  const { slowMs, outageMs } = times;
  return [
    scenario("S01", "429 with Retry-After: 2 once, then healthy", "rate-limited-once", {
      required: [attemptsAtMost(2, 1_500)],
      advisory: [
        attemptsAtLeast(2),
        check("waits as long as it is asked to", ({ primaryMs: [, second = 0] }) => second >= 1_800),
      ],
    }),
    scenario("S02", "429 for ever, no header", "rate-limited", {
      required: [attemptsAtMost(4, 3_000), attemptsAtMost(6)],
      advisory: [answered],
    }),
    scenario("S03", "500 once, then healthy", "error-500-once", {
      required: [answered],
      advisory: [attemptsAtLeast(2)],
    }),
    scenario("S04", "503 for ever", "unavailable", { required: [attemptsAtMost(6), answered] }),
    scenario("S05", "TCP reset before any byte, once", "reset-once", { required: [answered] }),
    scenario("S06", "never answers", "silent", {
      required: [endsWithin(BOUNDED_MS)],
      advisory: [attemptsAtMost(1)],
    }),
    scenario("S07", `first token after ${slowMs} ms`, `slow-${slowMs}`, {
      required: [answered],
      advisory: [failsOverWithin(15_000)],
    }),
    scenario("S08", "dies after 40 of 60 tokens", "cut-40", {}),
    scenario("S09", "silent after 20 tokens, then closed", "stall-20", {
      required: [endsWithin(45_000), alive],
    }),
    scenario("S10", "the tenth event is invalid JSON", "garbage-8", {
      required: [alive],
      advisory: [check("complete in place", ({ fallbackMs }) => fallbackMs.length === 0)],
    }),
    scenario("S11", "complete, without [DONE]", "no-done", {
      required: [endsWithin(8_000), answered],
      advisory: [
        check("usage reported", ({ replies }) => replies.every(({ outputTokens }) => outputTokens === 60)),
      ],
    }),
    scenario("S12", "400 context_length_exceeded always", "context-length", {
      required: [exactlyOne],
      advisory: [answered],
      fallbackFor: "context-window",
    }),
    scenario("S13", "400 content_policy_violation always", "content-policy", {
      required: [exactlyOne],
      advisory: [
        check("the provider's reason reaches the caller", ({ replies }) =>
          replies.every(({ error }) => error?.detail === "content_policy_violation"),
        ),
      ],
      expects: "error",
    }),
    scenario("S14", "as S08, and the fallback refuses a prefill", "cut-40", { fallback: "no-prefill" }),
    scenario("S15", `503 for ${outageMs} ms, then healthy`, `down-${outageMs}`, {
      required: [answered],
      advisory: [
        check(
          "back on the primary within 30 s of its recovery",
          (seen) => backAfterMs(seen, outageMs) <= 30_000,
        ),
        check(
          "few probes while open",
          ({ primaryMs }) => primaryMs.filter((ms) => ms < outageMs).length <= 12,
        ),
      ],
      requests: 20,
    }),
    scenario("S16", "503 always; the fallback answers", "unavailable", {
      required: [
        check("names the fallback and its usage", ({ replies, scenario: { fallback } }) =>
          replies.every(
            ({ model, outputTokens }) => model === fallback && outputTokens === CANONICAL_TOKENS.length,
          ),
        ),
      ],
    }),
  ];
}

/** The verdict on what was seen. */
export function judge(scenario: FailoverScenario, observation: Observation): Judgement {
  const seen = seenOf(scenario, observation);
  const failedOf = (checks: readonly Check[]) =>
    checks.filter(({ holds }) => !holds(seen)).map(({ name }) => name);
  const isEnded = ({ text, error }: ObservedReply) => text !== undefined || error !== undefined;
  const isTruncated = (reply: ObservedReply) => reply.text !== undefined && !reply.error && !isWhole(reply);
  const { replies } = observation;
  const isAnswered = replies.every(isWhole);
  const isError = replies.every(({ error }) => error !== undefined);
  const failed = [
    ...(replies.length > 0 && replies.every(isEnded) ? [] : ["ended at all"]),
    ...(replies.some(isTruncated) ? ["no truncated answer as a success"] : []),
    // A scenario that is answered must be; what ends in a clean error is safe at best.
    ...failedOf(isError ? scenario.required.filter((required) => required !== answered) : scenario.required),
  ];
  if (failed.length > 0) return { verdict: "fail", failed };
  const advisory = failedOf(scenario.advisory);
  const isAsExpected = scenario.expects === "answer" ? isAnswered : isError;
  if (isAsExpected) return { verdict: advisory.length > 0 ? "partial" : "pass", failed: advisory };
  return { verdict: isAnswered ? "partial" : "safe", failed: advisory };
}

function scenario(
  id: string,
  fault: string,
  kind: string,
  fields: Partial<FailoverScenario>,
): FailoverScenario {
  const { fallback = "healthy", ...rest } = fields;
  return {
    ...{ id, fault, primary: `${kind}@${id}`, fallback: `${fallback}@${id}-fallback` },
    ...{ fallbackFor: "any" as const, requests: 1, expects: "answer" as const, required: [], advisory: [] },
    ...rest,
  };
}

function seenOf(scenario: FailoverScenario, observation: Observation): Seen {
  const timesOf = (name: string) =>
    observation.attempts.filter(({ model }) => model === name).map(({ atMs }) => atMs);
  const primary = timesOf(scenario.primary);
  const startMs = primary[0] ?? 0;
  return {
    ...observation,
    scenario,
    primaryMs: primary.map((ms) => ms - startMs),
    fallbackMs: timesOf(scenario.fallback).map((ms) => ms - startMs),
  };
}

function isWhole({ text, error }: ObservedReply): boolean {
  return error === undefined && text === CANONICAL_TEXT;
}

/** From the end of the outage to the first reply of the primary. */
function backAfterMs({ replies, attempts, scenario: { primary } }: Seen, outageMs: number): number {
  const startMs = attempts.find(({ model }) => model === primary)?.atMs ?? 0;
  const back = replies.find(({ model }) => model === primary);
  return back ? back.startedAtMs - startMs - outageMs : Number.POSITIVE_INFINITY;
}
