/** The client's session under a fake clock, on sockets whose other end is the test. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ClientError } from "../../../edge/client/client-error.ts";
import { type ClientOptions, createClient } from "../../../edge/client/create-client.ts";
import type { SessionListeners } from "../../../edge/client/session.ts";
import { FakeSockets } from "../../support/fake-web-socket.ts";

let sockets: FakeSockets;

beforeEach(() => {
  vi.useFakeTimers();
  sockets = new FakeSockets();
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** A session that has asked for its first connection. */
async function newSession(
  options: Partial<ClientOptions> & SessionListeners & { signal?: AbortSignal } = {},
) {
  const tickets: (string | undefined)[] = [];
  const ticketProvider = async (sessionId: string | undefined) => {
    tickets.push(sessionId);
    return {
      sessionId: sessionId ?? `session-${tickets.length}`,
      path: "/ws",
      ticket: `ticket-${tickets.length}`,
      resumeToken: "resume-0",
    };
  };
  const { onMessage, onState, onError, signal, ...given } = options;
  const client = createClient({
    url: "http://gateway.test",
    ticketProvider,
    WebSocket: sockets.constructed,
    random: () => 1,
    ...given,
  });
  const listeners = { onMessage, onState, onError };
  const session = client.connect({ ...listeners, ...(signal && { signal }) } as SessionListeners);
  await pass(0);
  return { session, tickets };
}

/** The same, open. */
async function openSession(options: Parameters<typeof newSession>[0] = {}) {
  const parts = await newSession(options);
  sockets.last.open();
  return parts;
}

/** The next one is begun within 30 s. */
async function nextConnection(): Promise<void> {
  const { length } = sockets.all;
  for (let waitedMs = 0; sockets.all.length === length; waitedMs += 500) {
    expect(waitedMs).toBeLessThanOrEqual(30_000);
    await pass(500);
  }
}

/** Cuts the connection and opens the next one. */
async function reconnect(first: object = {}): Promise<void> {
  sockets.last.drop();
  await nextConnection();
  sockets.last.open(first);
}

const hello = { receiverId: "assistant", text: "hello" };
const accepted = (inReplyTo: string) => ({
  inReplyTo,
  taskId: `task-${inReplyTo}`,
  sequence: 1,
  accepted: {},
});
const content = (inReplyTo: string, text = "done") => ({
  ...{ inReplyTo, taskId: `task-${inReplyTo}`, sequence: 2, content: {}, text },
});

describe("the heartbeat", () => {
  it("pings after 25 s without a frame, and takes the connection for dead 10 s after it", async () => {
    await openSession();
    await pass(24_999);
    expect(sockets.last.pings).toBe(0);
    await pass(1);
    expect(sockets.last.pings).toBe(1);
    await pass(9_999);
    expect(sockets.last.readyState).toBe(1);
    await pass(1);
    expect(sockets.last.readyState).toBe(3);
    await pass(1_000);
    expect(sockets.all).toHaveLength(2);
  });

  it("takes any frame for a sign of life", async () => {
    await openSession();
    for (let round = 1; round <= 5; round++) {
      await pass(25_000 + 9_000);
      sockets.last.receive(round % 2 ? "pong" : { error: { code: "not_found", message: "x" } });
      expect(sockets.last.pings).toBe(round);
    }
    expect(sockets.all).toHaveLength(1);
  });

  it("gives a connection 15 s to its first frame", async () => {
    await newSession();
    await pass(15_000 + 1_000);
    expect(sockets.all).toHaveLength(2);
  });
});

describe("reconnecting", () => {
  it.each([
    ["at most", 1, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]],
    ["at least", 0, [500, 500, 500, 500, 500, 500, 500]],
  ])("waits %s so long after each failure", async (_, random, waits) => {
    await newSession({ random: () => random });
    for (const [failures, waitMs] of waits.entries()) {
      sockets.last.drop();
      await pass(waitMs - 1);
      expect(sockets.all).toHaveLength(failures + 1);
      await pass(1);
      expect(sockets.all).toHaveLength(failures + 2);
    }
  });

  it("begins with the shortest wait again after a connection that lasted, and only then", async () => {
    await newSession();
    for (const waitMs of [1_000, 2_000, 4_000]) {
      const { length } = sockets.all;
      sockets.last.open();
      await pass(4_000);
      sockets.last.drop();
      await pass(waitMs - 1);
      expect(sockets.all).toHaveLength(length);
      await pass(1);
      expect(sockets.all).toHaveLength(length + 1);
    }
    sockets.last.open();
    await pass(5_000);
    sockets.last.drop();
    await pass(1_000);
    expect(sockets.all).toHaveLength(5);
  });

  it("is done at once when the network comes back, and the connection is given up when it goes", async () => {
    const platform = new EventTarget();
    vi.stubGlobal("addEventListener", platform.addEventListener.bind(platform));
    vi.stubGlobal("removeEventListener", platform.removeEventListener.bind(platform));
    const { session } = await openSession();
    platform.dispatchEvent(new Event("offline"));
    await pass(0);
    expect(session.state).toBe("waiting");
    platform.dispatchEvent(new Event("online"));
    await pass(0);
    expect(sockets.all).toHaveLength(2);
  });

  it("goes on with the resume token of the last first frame, after the last number", async () => {
    await openSession();
    expect([sockets.last.token, sockets.last.query]).toEqual(["ticket-1", ""]);
    sockets.last.event({ inReplyTo: "other" });
    await reconnect({ resumeToken: "resume-2", after: 1 });
    expect([sockets.last.token, sockets.last.query]).toEqual(["resume-1", "?after=1"]);
    await reconnect({ after: 1 });
    expect(sockets.last.token).toBe("resume-2");
  });

  it("asks for a new ticket of the same session when the token is refused twice", async () => {
    const { tickets } = await openSession();
    const tokens: string[] = [];
    for (const _ of [1, 2, 3]) {
      sockets.last.drop();
      await nextConnection();
      tokens.push(sockets.last.token);
    }
    expect(tokens).toEqual(["resume-1", "resume-1", "ticket-2"]);
    expect(tickets).toEqual([undefined, "session-1"]);
    expect(sockets.last.token).toBe("ticket-2");
  });

  it("waits as long as who refuses a ticket says, and ends for good when it is refused for good", async () => {
    const asked: number[] = [];
    const errors = [
      { code: "resource_exhausted", message: "later", retryAfterSeconds: 60 },
      { code: "unauthenticated", message: "no" },
    ] as const;
    const ticketProvider = async () => {
      throw new ClientError(errors[asked.push(Date.now()) - 1] ?? errors[0]);
    };
    const { session } = await newSession({ ticketProvider });
    const turn = session.send(hello);
    await pass(60_000);
    expect((asked[1] ?? 0) - (asked[0] ?? 0)).toBe(60_000);
    await expect(session.closed).rejects.toMatchObject({ code: "unauthenticated" });
    await expect(turn.reply).rejects.toMatchObject({ code: "unauthenticated" });
    expect(session.state).toBe("closed");
  });
});

describe("a close", () => {
  it.each([1001, 1006, 1009, 1011, 1012, 4408, 4409])(
    "with %i is followed by a reconnect with the resume token and `after`",
    async (code) => {
      const { tickets } = await openSession();
      sockets.last.event({ inReplyTo: "other" });
      sockets.last.drop(code);
      await pass(1_000);
      expect([sockets.last.token, sockets.last.query]).toEqual(["resume-1", "?after=1"]);
      expect(tickets).toHaveLength(1);
    },
  );

  it.each([
    [4400, "resume-1", "", 1],
    [4401, "ticket-2", "?after=1", 2],
    [4410, "ticket-2", "", 2],
  ])("with %i goes on as the table of docs/sessions.md says", async (code, token, query, ticketCount) => {
    const { tickets } = await openSession();
    sockets.last.event({ inReplyTo: "other" });
    sockets.last.receive({ error: { code: "not_found", message: "x", details: { closeCode: code } } });
    await pass(1_000);
    expect([sockets.last.token, sockets.last.query]).toEqual([token, query]);
    expect(tickets).toEqual([undefined, code === 4410 ? undefined : "session-1"].slice(0, ticketCount));
  });

  it("with 4429 is followed by 30 s of silence", async () => {
    await openSession();
    sockets.last.drop(4429);
    await pass(29_999);
    expect(sockets.all).toHaveLength(1);
    await pass(1);
    expect(sockets.all).toHaveLength(2);
  });

  it("with 4410 begins a new session, says so, and asks there what has not been answered", async () => {
    const errors: ClientError[] = [];
    const { session } = await openSession({ onError: (error) => errors.push(error) });
    const [accepted1, unanswered] = ["accepted", "unanswered"].map((messageId) =>
      session.send({ ...hello, messageId }),
    );
    sockets.last.event(accepted("accepted"));
    const details = { closeCode: 4410, reason: "session-ended" };
    sockets.last.receive({ error: { code: "not_found", message: "the session has ended", details } });
    await pass(1_000);
    sockets.last.open({ id: "session-2" });
    expect(session.id).toBe("session-2");
    expect(errors.map(({ reason }) => reason)).toEqual(["session-ended"]);
    expect(sockets.last.messages).toEqual(["unanswered"]);
    // There is no credential to read it with by HTTP.
    await expect(accepted1?.reply).rejects.toMatchObject({ reason: "missed" });
    expect(unanswered?.ended).toBe(false);
  });
});

describe("acknowledging", () => {
  it("is done a second after a frame, and after 100 frames", async () => {
    await openSession();
    sockets.last.event({ inReplyTo: "other" });
    await pass(999);
    expect(sockets.last.acks).toEqual([]);
    await pass(1);
    expect(sockets.last.acks).toEqual([1]);
    for (let count = 0; count < 100; count++) sockets.last.event({ inReplyTo: "other" });
    expect(sockets.last.acks).toEqual([1, 101]);
    await pass(5_000);
    expect(sockets.last.acks).toEqual([1, 101]);
  });

  it("goes along with a message, and is said again on the next connection", async () => {
    const { session } = await openSession();
    sockets.last.event({ inReplyTo: "other" });
    session.send(hello);
    expect(sockets.last.sent.at(-1)).toMatchObject({ text: "hello", metadata: { ack: 1 } });
    await reconnect({ after: 1 });
    expect(sockets.last.sent.at(-1)).toMatchObject({ text: "hello", metadata: { ack: 1 } });
  });

  it("ignores a frame that comes again, and ends a connection that leaves one out", async () => {
    const { session } = await openSession();
    const turn = session.send({ ...hello, messageId: "m" });
    sockets.last.event(accepted("m"));
    sockets.last.event({ ...content("m"), error: { code: "internal", message: "x" } }, { sequence: 1 });
    expect(turn.ended).toBe(false);
    sockets.last.event(content("m"), { sequence: 3 });
    expect(turn.ended).toBe(false);
    await pass(1_000);
    expect(sockets.last.query).toBe("?after=1");
  });
});

describe("what is said", () => {
  it("before there is a connection waits, and goes out in order when there is one", async () => {
    const { session } = await newSession();
    for (const messageId of ["1", "2", "3"]) session.send({ ...hello, messageId });
    sockets.last.open();
    expect(sockets.last.messages).toEqual(["1", "2", "3"]);
  });

  it("goes out once on every connection until the gateway has answered, and then never again", async () => {
    const { session } = await openSession();
    const turn = session.send({ ...hello, messageId: "m" });
    session.send({ ...hello, messageId: "n" });
    await reconnect();
    expect(sockets.last.messages).toEqual(["m", "n"]);
    sockets.last.event(accepted("m"));
    await reconnect({ after: 1 });
    expect(sockets.last.messages).toEqual(["n"]);
    sockets.last.event(content("m"));
    expect((await turn.reply).text).toBe("done");
  });

  it("is refused when 1,000 messages wait", async () => {
    const { session } = await newSession();
    for (let count = 0; count < 1_000; count++) session.send(hello);
    expect(() => session.send(hello)).toThrow(expect.objectContaining({ reason: "queue-full" }));
    sockets.last.open();
    expect(sockets.last.messages).toHaveLength(16);
  });

  it("waits while as many turns are being answered as the gateway allows", async () => {
    const { session } = await newSession();
    for (const messageId of ["1", "2", "3"]) session.send({ ...hello, messageId });
    sockets.last.open({ limits: { turnsInFlightMax: 2 } });
    expect(sockets.last.messages).toEqual(["1", "2"]);
    sockets.last.event(accepted("1"));
    expect(sockets.last.messages).toEqual(["1", "2"]);
    sockets.last.event(content("1"));
    await pass(0);
    expect(sockets.last.messages).toEqual(["1", "2", "3"]);
  });

  it("is sent again a second after the gateway looked at no more frames, unless the session is closed", async () => {
    const { session } = await openSession();
    session.send({ ...hello, messageId: "m" });
    const refusal = { code: "resource_exhausted", message: "x", details: { reason: "frame-rate" } };
    for (const _ of [1, 2]) sockets.last.receive({ error: refusal });
    await pass(999);
    expect(sockets.last.messages).toEqual(["m"]);
    await pass(1);
    expect(sockets.last.messages).toEqual(["m", "m"]);
    sockets.last.receive({ error: refusal });
    session.close();
    await session.closed;
    expect(vi.getTimerCount()).toBe(0);
  });

  it("fails with what the gateway has against it, and may be said again", async () => {
    const { session } = await openSession();
    const turn = session.send({ ...hello, messageId: "m" });
    sockets.last.receive({ inReplyTo: "m", error: { code: "not_found", message: "no such agent" } });
    await expect(turn.reply).rejects.toMatchObject({ code: "not_found" });
    session.send({ ...hello, messageId: "m" });
    expect(sockets.last.messages).toEqual(["m", "m"]);
  });
});

describe("an aborted signal", () => {
  it("refuses what has not been said, and takes back what has not been sent", async () => {
    const { session } = await newSession();
    expect(() => session.send(hello, { signal: AbortSignal.abort() })).toThrow(ClientError);
    const controller = new AbortController();
    const turn = session.send(hello, { signal: controller.signal });
    controller.abort();
    await expect(turn.reply).rejects.toMatchObject({ code: "canceled" });
    sockets.last.open();
    expect(sockets.last.sent).toEqual([]);
  });

  it("cancels a turn at the gateway, on the next connection when there is none, until that is answered", async () => {
    const messages: object[] = [];
    const errors: object[] = [];
    const { session } = await openSession({
      onMessage: (message) => messages.push(message),
      onError: (error) => errors.push(error),
    });
    const controller = new AbortController();
    const turn = session.send({ ...hello, messageId: "m" }, { signal: controller.signal });
    sockets.last.event(accepted("m"));
    sockets.last.drop();
    controller.abort();
    await expect(turn.reply).rejects.toMatchObject({ code: "canceled" });
    await pass(1_000);
    sockets.last.open({ after: 1 });
    await reconnect({ after: 1 });
    expect(sockets.last.sent).toMatchObject([{ inReplyTo: "m", cancel: {} }]);
    sockets.last.event(content("m"));
    await reconnect({ after: 2 });
    expect(sockets.last.sent.filter(({ cancel }) => cancel)).toEqual([]);
    expect([messages, errors]).toEqual([[], []]);
  });

  it("of a message that the gateway never got is forgotten, when it says so", async () => {
    const errors: object[] = [];
    const { session } = await openSession({ onError: (error) => errors.push(error) });
    const controller = new AbortController();
    session.send({ ...hello, messageId: "m" }, { signal: controller.signal });
    controller.abort();
    sockets.last.receive({ inReplyTo: "m", error: { code: "not_found", message: "no such turn" } });
    await reconnect();
    expect(sockets.last.sent).toEqual([]);
    expect(errors).toEqual([]);
  });

  it("closes the session, with no timer left", async () => {
    const controller = new AbortController();
    const { session } = await openSession({ signal: controller.signal });
    const turn = session.send(hello);
    controller.abort();
    await session.closed;
    await expect(turn.reply).rejects.toMatchObject({ code: "canceled" });
    expect(() => session.send(hello)).toThrow(/closed/);
    expect(sockets.last.readyState).toBe(3);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("what is kept no longer", () => {
  const tasks = [{ messageId: "m", taskId: "task-m" }];
  const events = (...frames: object[]) =>
    new Response(frames.map((frame) => `data: ${JSON.stringify(frame)}\n\n`).join(""));

  it.each(["the first frame", "a later frame"])("is read by HTTP when %s says so", async (where) => {
    const asked: string[] = [];
    const fetch = (async (url: string, { headers }: { headers: Record<string, string> }) => {
      asked.push(`${new URL(url).pathname} ${headers["last-event-id"]}`);
      return events({ ...content("m", "hello, all of it"), sequence: 9 });
    }) as unknown as typeof globalThis.fetch;
    const { session } = await openSession({ credential: "key", fetch });
    const turn = session.send({ ...hello, messageId: "m" });
    sockets.last.event(accepted("m"));
    if (where === "a later frame") {
      sockets.last.event({ metadata: { missed: { from: 2, to: 9, tasks } } }, { sequence: 9, events: 8 });
    } else await reconnect({ after: 9, missed: { from: 2, to: 9, tasks } });
    expect((await turn.reply).text).toBe("hello, all of it");
    expect(asked).toEqual(["/api/v1/a2a/tasks/task-m/events 1"]);
    sockets.last.event({ inReplyTo: "other" });
    await pass(1_000);
    expect(sockets.last.acks.at(-1)).toBe(10);
  });

  it("fails the turn where there is no credential to read it with", async () => {
    const { session } = await openSession();
    const turn = session.send({ ...hello, messageId: "m" });
    await reconnect({ after: 9, missed: { from: 1, to: 9, tasks } });
    await expect(turn.reply).rejects.toMatchObject({ reason: "missed", details: { taskId: "task-m" } });
  });
});

describe("a message of a peer", () => {
  it("is told once, however often it comes, and answers to other tabs are not told", async () => {
    const told: string[] = [];
    await openSession({
      onMessage: ({ messageId = "" }) => {
        told.push(messageId);
      },
    });
    const message = { senderId: "peer", messageId: "p-1", content: {}, text: "hi" };
    sockets.last.event(message);
    sockets.last.event({ ...message, messageId: "p-2" });
    sockets.last.event(message);
    sockets.last.event(content("another tab's"));
    expect(told).toEqual(["p-1", "p-2"]);
  });

  it("does not end the session when its listener throws", async () => {
    const thrown = vi.fn();
    const queue = vi.spyOn(globalThis, "queueMicrotask").mockImplementation((work) => {
      try {
        work();
      } catch (error) {
        thrown(error);
      }
    });
    const { session } = await openSession({
      onMessage: () => {
        throw new Error("the program's own");
      },
    });
    sockets.last.event({ senderId: "peer", messageId: "p-1", content: {} });
    expect(session.state).toBe("open");
    expect(thrown).toHaveBeenCalledOnce();
    queue.mockRestore();
  });
});
