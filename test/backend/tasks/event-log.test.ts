/** The events of one task: order, numbering, followers. */
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { EventLog } from "../../../backend/tasks/event-log.ts";
import { A2AMessageSchema } from "../../../proto/gen/parley/v1/agent_service_pb.js";

const delta = (text: string) => create(A2AMessageSchema, { body: { case: "delta", value: text } });
const never = new AbortController().signal;

async function collect(log: EventLog, after: number, signal = never): Promise<number[]> {
  const sequences: number[] = [];
  for await (const event of log.follow(after, signal)) sequences.push(event.sequence);
  return sequences;
}

describe("EventLog", () => {
  it("numbers events from 1 without gaps and shows them to followers that come before, between and after", async () => {
    const log = new EventLog();
    const early = collect(log, 0);
    log.append(delta("a"), false);
    log.append(delta("b"), false);
    const between = collect(log, 1);
    await Promise.resolve();
    log.append(delta("c"), true);
    expect(await early).toEqual([1, 2, 3]);
    expect(await between).toEqual([2, 3]);
    expect(await collect(log, 2)).toEqual([3]);
    expect(await collect(log, 3)).toEqual([]);
  });

  it("shows every follower the very same events", async () => {
    const log = new EventLog();
    log.append(delta("a"), false);
    log.append(delta("b"), true);
    const read = async () => {
      const events = [];
      for await (const event of log.follow(0, never)) events.push(event);
      return events;
    };
    const [first, second] = [await read(), await read()];
    expect(first).toHaveLength(2);
    for (const [index, event] of first.entries()) expect(second[index]).toBe(event);
  });

  it("lets a waiting follower go when its signal aborts, and nobody else", async () => {
    const log = new EventLog();
    const leaving = new AbortController();
    const left = collect(log, 0, leaving.signal);
    const stayed = collect(log, 0);
    await Promise.resolve();
    leaving.abort(new Error("gone"));
    await expect(left).rejects.toThrow("gone");
    log.append(delta("a"), true);
    expect(await stayed).toEqual([1]);
  });

  it("refuses events after the last", () => {
    const log = new EventLog();
    log.append(delta("a"), true);
    expect(() => log.append(delta("b"), false)).toThrow();
    expect(log.lastEvent?.sequence).toBe(1);
  });
});
