/**
 * Followers of running answers that leave at random positions and come back with the last event they have, over SSE and
 * over gRPC. What each has in the end is compared, byte for byte, with what a follower has that never left.
 */
import { toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { A2AMessageSchema, AgentService } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { Gateway } from "../support/gateway.ts";
import { eventsOfBody, messageOfEvent, sequenceOfEvent } from "./read-events.ts";

/** Of each answer, on each wire. */
const FOLLOWERS = 6;
/** Events that a follower stays for at most. */
const STAY_MAX = 12;
const ANSWER_MS_MAX = 120_000;
/** An answer has about 200 events; more than these is a loop. */
const DEPARTURES_MAX = 2_000;

/** What was seen. */
export interface DepartureReport {
  readonly departures: number;
  readonly answers: number;
  /** Events that followers have got, all together. */
  readonly events: number;
  readonly problems: readonly string[];
}

/** How many, on what, and who answers, with a few hundred pieces and some seconds. */
export interface DepartureOptions {
  readonly gateway: Gateway;
  readonly agentId: string;
  /** Answers are asked for until there have been so many. */
  readonly departures: number;
  /** Uniform in [0, 1). Default Math.random. */
  readonly random?: () => number;
}

/** An event as it came, and its position. */
interface Seen {
  readonly sequence: number;
  readonly bytes: string;
  readonly isLast: boolean;
}

/** The events of a task after a position, to its end; the connection closes when the reader stops. */
type Follow = (taskId: string, after: number, signal: AbortSignal) => AsyncGenerator<Seen>;

/** Plays one answer after another. */
export async function leaveAndReturn(options: DepartureOptions): Promise<DepartureReport> {
  const { gateway, agentId, departures: wanted, random = Math.random } = options;
  const problems: string[] = [];
  let [departures, answers, events] = [0, 0, 0];
  while (departures < wanted && problems.length === 0) {
    answers++;
    const taskId = await startTask(gateway, agentId);
    for (const played of await Promise.all(
      Object.entries(followsOf(gateway)).map(([wire, follow]) => playWire({ wire, follow, taskId, random })),
    )) {
      departures += played.departures;
      events += played.events;
      problems.push(...played.problems.map((problem) => `answer ${answers}: ${problem}`));
    }
  }
  return { departures, answers, events, problems };
}

async function playWire({ wire, follow, taskId, random }: Wired) {
  const whole = await Promise.all([
    stay(follow, taskId),
    ...Array.from({ length: FOLLOWERS }, () => comeAndGo(follow, taskId, random)),
  ]);
  const [reference] = whole;
  const problems = whole.flatMap(({ seen }, index) => [
    ...gapsIn(seen).map((gap) => `${wire}: ${gap}`),
    ...(textOf(seen) === textOf(reference.seen) ? [] : [`${wire}: follower ${index} has other bytes`]),
  ]);
  return {
    problems,
    departures: whole.reduce((sum, one) => sum + one.departures, 0),
    events: whole.reduce((sum, { seen }) => sum + seen.length, 0),
  };
}

interface Wired {
  readonly wire: string;
  readonly follow: Follow;
  readonly taskId: string;
  readonly random: () => number;
}

function gapsIn(seen: readonly Seen[]): string[] {
  const gaps = seen.flatMap(({ sequence }, index) =>
    sequence === index + 1 ? [] : [`event ${sequence} where ${index + 1} was due`],
  );
  return seen.at(-1)?.isLast ? gaps : [...gaps, "the end never came"];
}

const textOf = (seen: readonly Seen[]) => seen.map(({ bytes }) => bytes).join("\n\n");

async function stay(follow: Follow, taskId: string) {
  const seen: Seen[] = [];
  for await (const event of follow(taskId, 0, AbortSignal.timeout(ANSWER_MS_MAX))) seen.push(event);
  return { seen, departures: 0 };
}

async function comeAndGo(follow: Follow, taskId: string, random: () => number) {
  const signal = AbortSignal.timeout(ANSWER_MS_MAX);
  const seen: Seen[] = [];
  let departures = 0;
  while (!seen.at(-1)?.isLast && departures < DEPARTURES_MAX) {
    const leaveAt = seen.length + 1 + Math.floor(random() * STAY_MAX);
    for await (const event of follow(taskId, seen.at(-1)?.sequence ?? 0, signal)) {
      seen.push(event);
      if (seen.length >= leaveAt) break;
    }
    if (!seen.at(-1)?.isLast) departures++;
  }
  return { seen, departures };
}

async function startTask({ url, key }: Gateway, agentId: string): Promise<string> {
  const response = await fetch(`${url}/api/v1/a2a/message`, {
    method: "POST",
    headers: {
      ...{ authorization: `Bearer ${key}`, "content-type": "application/json" },
      prefer: "respond-async",
    },
    body: JSON.stringify({ receiverId: agentId, text: "what are the pieces?" }),
  });
  const { id } = (await response.json()) as { id?: string };
  if (response.status !== 202 || id === undefined) throw new Error(`no task: ${response.status}`);
  return id;
}

function followsOf({ url, backendUrl, key }: Gateway): Record<"sse" | "grpc", Follow> {
  const headers = { authorization: `Bearer ${key}` };
  const agents = createClient(AgentService, createGrpcTransport({ baseUrl: backendUrl }));
  return {
    async *sse(taskId, after, signal) {
      const leave = new AbortController();
      try {
        const response = await fetch(`${url}/api/v1/a2a/tasks/${taskId}/events`, {
          headers: { ...headers, ...(after > 0 && { "last-event-id": String(after) }) },
          signal: AbortSignal.any([signal, leave.signal]),
        });
        if (response.status !== 200) throw new Error(`following ended with ${response.status}`);
        for await (const text of eventsOfBody(response.body)) {
          const isLast = messageOfEvent(text).body.case === "content";
          yield { sequence: sequenceOfEvent(text), bytes: text, isLast };
        }
      } finally {
        leave.abort();
      }
    },
    async *grpc(taskId, after, signal) {
      for await (const event of agents.resumeReply({ taskId, afterSequence: after }, { headers, signal })) {
        const bytes = Buffer.from(toBinary(A2AMessageSchema, event)).toString("base64");
        yield { sequence: event.sequence, bytes, isLast: event.body.case === "content" };
      }
    },
  };
}
