/** What becomes of a reply whose connection to the backend breaks: over real sockets, cut at every position. */
import { type AddressInfo, createServer, connect as openSocket } from "node:net";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { toConnectError } from "../../../core/errors/connect-errors.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { MemoryLimiter } from "../../../core/limits/memory-limiter.ts";
import { DELTA_INTERVAL_HEADER, deltaTextsOf } from "../../../core/messages/joined-deltas.ts";
import { acceptOrStartTrace } from "../../../core/messages/trace-context.ts";
import { Deadline } from "../../../core/resilience/deadline.ts";
import { FAILURES_MAX, OPEN_MS } from "../../../edge/backend/address-breaker.ts";
import type { AgentBackend, BackendCall } from "../../../edge/backend/agent-backend.ts";
import { TAKEOVER_MS, UNDER_WAY_MS } from "../../../edge/backend/try-addresses.ts";
import { createComposition } from "../../../edge/composition.ts";
import { readEdgeConfig } from "../../../edge/env.ts";
import {
  type A2AMessage,
  A2AMessageSchema,
  DeltasSchema,
} from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { TEST_ENV } from "../support/edge-harness.ts";
import { emptyDatabase, MemoryDirectory } from "../support/memory-directory.ts";
import {
  answerTo,
  foreignError,
  replyTo,
  type ScriptedBackend,
  startScriptedBackend,
  streamOf,
} from "../support/scripted-backend.ts";

const MESSAGE = create(A2AMessageSchema, { messageId: "m-1", receiverId: "echo", text: "hi" });
const DELTAS = ["one ", "two ", "three ", "four"];
const ALL = [1, 2, 3, 4, 5, 6];

let first: ScriptedBackend;
let second: ScriptedBackend;
/** Ahead of the real clock; the breakers and the windows of time go by it. */
let aheadMs = 0;

beforeEach(async () => {
  aheadMs = 0;
  [first, second] = await Promise.all([startScriptedBackend(), startScriptedBackend()]);
  for (const { script } of [first, second]) {
    script.streamReply = () => streamOf(MESSAGE, DELTAS);
    script.resumeReply = ({ afterSequence }) => eventsAfter(afterSequence);
  }
});
afterEach(() => Promise.all([first.stop(), second.stop()]));

/** Moves the clock, once what is under way has happened. */
function laterIs(ms: number): void {
  setTimeout(() => {
    aheadMs = ms;
  }, 100);
}

async function* eventsAfter(sequence: number): AsyncGenerator<A2AMessage> {
  for await (const event of streamOf(MESSAGE, DELTAS)) if (event.sequence > sequence) yield event;
}

function backendAt(...urls: string[]): AgentBackend {
  const config = readEdgeConfig({ ...TEST_ENV, BACKEND_URLS: urls.join(",") });
  return createComposition(config, {
    directory: new MemoryDirectory(),
    sql: emptyDatabase,
    limiter: new MemoryLimiter(Date.now),
    checkDatabase: async () => {},
    fetch: (input, init) => fetch(input, init),
    random: () => 0,
    now: () => Date.now() + aheadMs,
  }).backend;
}

function call(fields: Partial<BackendCall> = {}): BackendCall {
  return {
    principal: { tenantId: "t", subject: "s", scopes: [], keyId: "k" },
    requestId: "request-1",
    trace: acceptOrStartTrace(undefined),
    deadline: Deadline.after(5_000, Date.now),
    signal: new AbortController().signal,
    onAttempt: () => {},
    ...fields,
  };
}

async function eventsOf(stream: AsyncIterable<A2AMessage>): Promise<A2AMessage[]> {
  const events: A2AMessage[] = [];
  for await (const event of stream) events.push(event);
  return events;
}

async function sequencesOf(stream: AsyncIterable<A2AMessage>): Promise<number[]> {
  return (await eventsOf(stream)).map(({ sequence }) => sequence);
}

/** Yields so many events, then cuts the connection. */
async function* cutAfter(backend: ScriptedBackend, count: number, events: AsyncIterable<A2AMessage>) {
  let left = count;
  for await (const event of events) {
    if (left-- === 0) {
      // What was yielded must be on its way first.
      await new Promise((resolve) => setTimeout(resolve, 5));
      backend.cut();
      throw new Error("cut");
    }
    yield event;
  }
}

/** Forwards to a backend, and cuts each connection after so many bytes of answers, the n-th by the n-th number. */
async function startCuttingProxy(port: number, cuts: readonly number[]) {
  let connections = 0;
  const server = createServer((client) => {
    let bytesLeft = cuts[connections++] ?? Number.POSITIVE_INFINITY;
    const upstream = openSocket(port, "127.0.0.1");
    client.pipe(upstream);
    upstream.on("data", (bytes) => {
      const passed = bytes.subarray(0, bytesLeft);
      bytesLeft -= passed.length;
      client.write(passed, () => {
        if (bytesLeft <= 0) client.resetAndDestroy();
      });
    });
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      socket.on("error", () => {});
      socket.on("close", () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () => server.close(),
  };
}

describe("a stream that breaks", () => {
  it.each(ALL)("after %i events goes on at the next address, without gap or repeat", async (count) => {
    first.script.streamReply = () => cutAfter(first, count, streamOf(MESSAGE, DELTAS));
    const backend = backendAt(first.url, second.url);
    expect(await sequencesOf(backend.streamReply(MESSAGE, call()))).toEqual(ALL);
    const resumed = second.calls.map(({ method, afterSequence }) => [method, afterSequence]);
    expect(resumed).toEqual(count === ALL.length ? [] : [["resumeReply", count]]);
  });

  it("after every single event goes on as often", async () => {
    for (const backend of [first, second]) {
      backend.script.streamReply = () => cutAfter(backend, 1, streamOf(MESSAGE, DELTAS));
      backend.script.resumeReply = ({ afterSequence }) => cutAfter(backend, 1, eventsAfter(afterSequence));
    }
    expect(await sequencesOf(backendAt(first.url, second.url).streamReply(MESSAGE, call()))).toEqual(ALL);
  });

  it("at any byte of its answer goes on, without gap or repeat", async () => {
    const { port } = new URL(first.url);
    for (let cut = 1; cut < 1_500; cut += 37) {
      const proxy = await startCuttingProxy(Number(port), [cut, cut]);
      const backend = backendAt(proxy.url);
      expect([cut, await sequencesOf(backend.streamReply(MESSAGE, call()))]).toEqual([cut, ALL]);
      proxy.stop();
    }
  });

  it.each<[string, number[]]>([
    ["repeats events", [1, 2, 3, 3, 2, 4, 5, 6]],
    ["leaves events out", [1, 2, 5, 6]],
    ["ends in the middle", [1, 2]],
  ])("since the other side %s is mended", async (_, sequences) => {
    first.script.streamReply = async function* () {
      const all = await eventsOf(streamOf(MESSAGE, DELTAS));
      for (const sequence of sequences) yield all[sequence - 1] as A2AMessage;
    };
    expect(await sequencesOf(backendAt(first.url).streamReply(MESSAGE, call()))).toEqual(ALL);
  });

  it("has each delta once, however backends have put them together, and none is missed in them", async () => {
    const together = (sequence: number, ...texts: string[]) =>
      answerTo(MESSAGE, { sequence, body: { case: "deltas", value: create(DeltasSchema, { texts }) } });
    const [accepted, ...all] = await eventsOf(streamOf(MESSAGE, DELTAS));
    const [content] = all.slice(-1);
    first.script.streamReply = async function* () {
      yield accepted as A2AMessage;
      yield together(3, "one ", "two ");
      yield together(5, "four");
    };
    first.script.resumeReply = async function* () {
      yield together(5, "two ", "three ", "four");
      yield content as A2AMessage;
    };
    const events = await eventsOf(backendAt(first.url).streamReply(MESSAGE, call({ deltaIntervalMs: 50 })));
    expect(events.flatMap((event) => deltaTextsOf(event) ?? [])).toEqual(DELTAS);
    expect(events.map(({ sequence }) => sequence)).toEqual([1, 3, 5, 6]);
    expect(first.calls.map(({ headers }) => headers.get(DELTA_INTERVAL_HEADER))).toEqual(["50", "50"]);
  });

  it("passes a restart on, and the whole answer after it", async () => {
    first.script.streamReply = () => cutAfter(first, 3, streamOf(MESSAGE, DELTAS));
    second.script.resumeReply = async function* () {
      const restart = { discardAfterSequence: 1, reason: "backend-lost" };
      yield answerTo(MESSAGE, { sequence: 4, body: { case: "restart", value: restart as never } });
      yield { ...replyTo(MESSAGE, "the whole answer"), sequence: 5 };
    };
    const events = await eventsOf(backendAt(first.url, second.url).streamReply(MESSAGE, call()));
    expect(events.map(({ body }) => body.case)).toEqual(["accepted", "delta", "delta", "restart", "content"]);
  });

  it("keeps asking while nobody answers, has room or is as far, as long as the request has time", async () => {
    first.script.streamReply = () => cutAfter(first, 2, streamOf(MESSAGE, DELTAS));
    const failures = [
      foreignError(),
      toConnectError(new ParleyError("resource_exhausted", "no room"), "r"),
      toConnectError(new ParleyError("invalid_argument", "after_sequence 2 is in the future"), "r"),
      toConnectError(new ParleyError("unavailable", "draining", { retryAfterMs: 10 }), "r"),
    ];
    first.script.resumeReply = async function* ({ afterSequence }) {
      const failure = failures.shift();
      if (failure) throw failure;
      yield* eventsAfter(afterSequence);
    };
    expect(await sequencesOf(backendAt(first.url).streamReply(MESSAGE, call()))).toEqual(ALL);
    expect(failures).toEqual([]);
  });

  it("goes on also after its address was left alone by its breaker", async () => {
    first.script.streamReply = () => cutAfter(first, 2, streamOf(MESSAGE, DELTAS));
    let refusals = 0;
    first.script.resumeReply = async function* ({ afterSequence }) {
      refusals += 1;
      // With the cut before them, these open the breaker.
      if (refusals === FAILURES_MAX - 1) laterIs(OPEN_MS + 1);
      if (refusals < FAILURES_MAX) throw foreignError();
      yield* eventsAfter(afterSequence);
    };
    expect(await sequencesOf(backendAt(first.url).streamReply(MESSAGE, call()))).toEqual(ALL);
  });

  it("ends with its signal while it waits to go on", async () => {
    first.script.streamReply = () => cutAfter(first, 2, streamOf(MESSAGE, DELTAS));
    // biome-ignore lint/correctness/useYield: it refuses before it says anything
    first.script.resumeReply = async function* () {
      throw foreignError();
    };
    const abort = new AbortController();
    setTimeout(() => abort.abort(new ParleyError("canceled", "the client closed the request")), 100);
    const events = backendAt(first.url).streamReply(MESSAGE, call({ signal: abort.signal }));
    await expect(sequencesOf(events)).rejects.toMatchObject({ code: "canceled" });
  });
});

describe("a task that is followed from a position", () => {
  it("goes on where its connection breaks", async () => {
    first.script.resumeReply = ({ afterSequence }) => cutAfter(first, 1, eventsAfter(afterSequence));
    const position = { taskId: "task-1", afterSequence: 3 };
    expect(await sequencesOf(backendAt(first.url, second.url).resumeReply(position, call()))).toEqual([
      ...[4, 5, 6],
    ]);
  });

  it("has no events when it has ended there, and its address is not blamed", async () => {
    const backend = backendAt(first.url);
    for (let i = 0; i < 8; i++) {
      const position = { taskId: "task-1", afterSequence: 6 };
      expect(await sequencesOf(backend.resumeReply(position, call()))).toEqual([]);
    }
  });
});

describe("a message whose call breaks while it is answered", () => {
  it("is sent again, as the same message, until the backend is back", async () => {
    let calls = 0;
    first.script.processMessage = async (message) => {
      calls += 1;
      if (calls === 1) {
        await new Promise((resolve) => setTimeout(resolve, UNDER_WAY_MS + 50));
        first.cut();
      }
      if (calls === FAILURES_MAX) laterIs(OPEN_MS + 1);
      if (calls <= FAILURES_MAX) throw foreignError();
      return replyTo(message, "at last");
    };
    const reply = await backendAt(first.url).processMessage(MESSAGE, call());
    expect(reply.inReplyTo).toBe("m-1");
    expect(new Set(first.calls.map(({ message }) => message.messageId))).toEqual(new Set(["m-1"]));
  });

  it("is given up when nobody has taken it over for so long", async () => {
    first.script.processMessage = async () => {
      await new Promise((resolve) => setTimeout(resolve, UNDER_WAY_MS + 50));
      laterIs(TAKEOVER_MS);
      first.cut();
      throw new Error("cut");
    };
    await expect(backendAt(first.url).processMessage(MESSAGE, call())).rejects.toMatchObject({
      code: "unavailable",
    });
  });
});
