import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { deltaIntervalOf, followEvents } from "../../../backend/rpc/follow-events.ts";
import { EventLog } from "../../../backend/tasks/event-log.ts";
import { DELTA_INTERVAL_HEADER, deltaTextsOf } from "../../../core/messages/joined-deltas.ts";
import { type A2AMessage, A2AMessageSchema } from "../../../proto/gen/parley/v1/agent_service_pb.js";

const INTERVAL_MS = 50;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const event = (body: object): A2AMessage => create(A2AMessageSchema, { body } as never);
const delta = (value: string): A2AMessage => event({ case: "delta", value });
const ACCEPTED = event({ case: "accepted", value: {} });
const content = (): A2AMessage => event({ case: "content", value: { parts: [] } });

/** Whoever follows a log, and what has come: when, up to which sequence, and what. */
function follow(events: EventLog, { after = 0, isAsked = true } = {}) {
  const deltaIntervalMs = isAsked ? INTERVAL_MS : undefined;
  const abort = new AbortController();
  const startedAtMs = Date.now();
  const came: [number, number, string | undefined][] = [];
  const read = async () => {
    const followed = { events, afterSequence: after, deltaIntervalMs, now: Date.now, signal: abort.signal };
    for await (const next of followEvents(followed)) {
      came.push([Date.now() - startedAtMs, next.sequence, deltaTextsOf(next)?.join("|") ?? next.body.case]);
    }
  };
  const ended = read();
  ended.catch(() => {});
  return { came, ended, abort };
}

const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

describe("deltas that are asked for put together", () => {
  it("come at once after a pause, and otherwise with what comes within the interval", async () => {
    const log = new EventLog();
    const { came } = follow(log);
    log.append(delta("a"), false);
    await settle();
    for (const text of ["b", "c", "d"]) {
      log.append(delta(text), false);
      await settle(10);
    }
    await settle(100);
    log.append(delta("e"), false);
    await settle();
    expect(came).toEqual([
      [0, 1, "a"],
      [INTERVAL_MS, 4, "b|c|d"],
      [130, 5, "e"],
    ]);
  });

  it("hold back no other event, and come before it", async () => {
    const log = new EventLog();
    const { came, ended } = follow(log);
    log.append(ACCEPTED, false);
    log.append(delta("a"), false);
    await settle();
    log.append(delta("b"), false);
    await settle(1);
    log.append(content(), true);
    await ended;
    expect(came).toEqual([
      [0, 1, "accepted"],
      [0, 2, "a"],
      [1, 3, "b"],
      [1, 4, "content"],
    ]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("come in bounded messages to who catches up, from any position on", async () => {
    const log = new EventLog();
    for (let count = 1; count <= 600; count++) log.append(delta(String(count)), false);
    log.append(content(), true);
    const { came, ended } = follow(log, { after: 7 });
    await ended;
    expect(came.map(([, sequence]) => sequence)).toEqual([263, 519, 600, 601]);
    const texts = came.slice(0, -1).flatMap(([, , text]) => text?.split("|"));
    expect(texts).toEqual(Array.from({ length: 593 }, (_, index) => String(index + 8)));
  });

  it("come in messages that are no longer than one should be", async () => {
    const log = new EventLog();
    const { came } = follow(log);
    log.append(delta("a"), false);
    await settle();
    for (let count = 0; count < 5; count++) log.append(delta("x".repeat(32 * 1_024)), false);
    await settle();
    await settle(INTERVAL_MS);
    expect(came.map(([atMs, sequence]) => [atMs, sequence])).toEqual([
      [0, 1],
      [0, 3],
      [0, 5],
      [INTERVAL_MS, 6],
    ]);
  });

  it("come before the failure of a log that breaks", async () => {
    const log = new EventLog();
    const { came, ended } = follow(log);
    log.append(delta("a"), false);
    await settle();
    log.append(delta("b"), false);
    await settle();
    log.break(new Error("taken over"));
    await expect(ended).rejects.toThrow("taken over");
    expect(came.map(([, , text]) => text)).toEqual(["a", "b"]);
  });

  it("come no more, and hold no timer, once the reader has left", async () => {
    const log = new EventLog();
    const { came, ended, abort } = follow(log);
    log.append(delta("a"), false);
    await settle();
    log.append(delta("b"), false);
    await settle();
    abort.abort(new Error("gone"));
    await expect(ended).rejects.toThrow("gone");
    expect(came).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("are left alone where nobody asks", async () => {
    const log = new EventLog();
    log.append(delta("a"), false);
    log.append(delta("b"), true);
    const { came, ended } = follow(log, { isAsked: false });
    await ended;
    expect(came.map(([, , text]) => text)).toEqual(["a", "b"]);
  });
});

describe("the interval", () => {
  it.each(["1", "50", "1000"])("may be %s ms", (text) => {
    expect(deltaIntervalOf(new Headers({ [DELTA_INTERVAL_HEADER]: text }))).toBe(Number(text));
  });

  it.each(["0", "1001", "-1", "1.5", "", "soon", "99999"])("is refused when it is `%s`", (text) => {
    const headers = new Headers({ [DELTA_INTERVAL_HEADER]: text });
    expect(() => deltaIntervalOf(headers)).toThrow("must be a whole number from 1 to 1000");
  });

  it("is none when nothing is said", () => {
    expect(deltaIntervalOf(new Headers())).toBeUndefined();
  });
});
