/** What becomes of a message after it was taken: looked at, followed from a position, stopped. */
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { toConnectError } from "../../../core/errors/connect-errors.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { TaskSchema, TaskState } from "../../../proto/gen/lf/a2a/v1/a2a_pb.js";
import {
  createEdgeHarness,
  type EdgeHarness,
  type ErrorAnswer,
  eventually,
} from "../support/edge-harness.ts";
import {
  answerTo,
  replyTo,
  restOfReply,
  type ScriptedBackend,
  startScriptedBackend,
  untilAborted,
} from "../support/scripted-backend.ts";

const TASK = "/api/v1/a2a/tasks/task-1";

let backend: ScriptedBackend;
let edge: EdgeHarness;
beforeAll(async () => {
  backend = await startScriptedBackend();
});
afterAll(() => backend.stop());
beforeEach(async () => {
  backend.calls.length = 0;
  taskIs(TaskState.WORKING, 2);
  backend.script.resumeReply = restOfReply;
  edge = await createEdgeHarness({ BACKEND_URLS: backend.url });
});

function taskIs(state: TaskState, sequence: number): void {
  backend.script.getTask = (id) => create(TaskSchema, { id, status: { state }, metadata: { sequence } });
}

function ask(path: string, init: RequestInit = {}) {
  const headers = { authorization: `Bearer ${edge.apiKey}`, ...(init.headers as object) };
  return edge.request(path, { ...init, headers });
}

const methodsCalled = () => backend.calls.map(({ method }) => method);
const idsIn = (text: string) => [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
const errorOf = async (answer: Response) => ((await answer.json()) as ErrorAnswer).error;

describe("GET /api/v1/a2a/tasks/{id}", () => {
  it("answers with the task as the backend knows it, as ProtoJSON", async () => {
    const answer = await ask(TASK);
    expect(answer.status).toBe(200);
    expect(await answer.json()).toEqual({
      id: "task-1",
      status: { state: "TASK_STATE_WORKING" },
      metadata: { sequence: 2 },
    });
  });

  it.each(["x".repeat(129), "a b", "%00", "../../healthz", "nobody's"])(
    "knows no task %j, and asks nobody about it",
    async (id) => {
      const answer = await ask(`/api/v1/a2a/tasks/${encodeURIComponent(id)}`);
      expect(answer.status).toBe(404);
      expect((await errorOf(answer)).message).toMatch(/^there is no task /);
      expect(backend.calls).toHaveLength(0);
    },
  );
});

describe("GET /api/v1/a2a/tasks/{id}/events", () => {
  it.each([
    ["without a position, from the beginning", "", {}, [1, 2, 3, 4]],
    ["after a position", "?after=2", {}, [3, 4]],
    ["after the last event that an event source had", "", { "last-event-id": "1" }, [2, 3, 4]],
    ["after that one also when its URL names an older", "?after=0", { "last-event-id": "2" }, [3, 4]],
    ["after the URL's when the event source had none", "?after=1", { "last-event-id": "" }, [2, 3, 4]],
  ])("streams the events %s", async (_, query, headers, expected) => {
    const answer = await ask(`${TASK}/events${query}`, { headers });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("text/event-stream");
    expect(idsIn(await answer.text())).toEqual(expected);
  });

  it("begins at once, also when nothing happens", async () => {
    backend.script.resumeReply = async function* (_, { signal }) {
      await untilAborted(signal);
      yield answerTo(replyTo(create(TaskSchema) as never, ""), {});
    };
    const answer = await ask(`${TASK}/events?after=2`);
    const reader = answer.body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe(": keep-alive\n\n");
    await reader?.cancel();
    await eventually(() => backend.calls.at(-1)?.signal.aborted !== false);
  });

  it.each([
    ["after", "?after=-1", {}],
    ["after", "?after=1.5", {}],
    ["after", "?after=", {}],
    ["after", "?after=four", {}],
    ["after", "?after=0x10", {}],
    ["after", "?after=4294967296", {}],
    ["after", `?after=${"9".repeat(5_000)}`, {}],
    ["Last-Event-ID", "", { "last-event-id": "-1" }],
    ["Last-Event-ID", "?after=1", { "last-event-id": "one" }],
    ["after", "?after=one", { "last-event-id": "1" }],
  ])("refuses a position that is none in `%s` (%.40s)", async (name, query, headers) => {
    const answer = await ask(`${TASK}/events${query}`, { headers: headers as Record<string, string> });
    expect(answer.status).toBe(400);
    const { code, message } = await errorOf(answer);
    expect(code).toBe("invalid_argument");
    expect(message).toContain(`\`${name}\` must be the sequence of an event, a whole number from 0 to`);
    expect(message.length).toBeLessThan(200);
    expect(backend.calls).toHaveLength(0);
  });

  it("refuses a position in the future of a task, once it is sure that it is one", async () => {
    for (const state of [TaskState.WORKING, TaskState.COMPLETED]) {
      taskIs(state, 4);
      const answer = await ask(`${TASK}/events?after=5`);
      expect(answer.status).toBe(400);
      expect(await errorOf(answer)).toMatchObject({
        reason: "position-in-future",
        message: "the position 5 is in the future: the newest event of the task is 4",
        details: { sequence: 4 },
      });
    }
    expect(methodsCalled()).toEqual(["getTask", "getTask", "getTask", "getTask"]);
  });

  it("takes a position that is not stored yet", async () => {
    let sequence = 1;
    backend.script.getTask = (id) =>
      create(TaskSchema, {
        ...{ id, status: { state: TaskState.WORKING } },
        metadata: { sequence: sequence++ },
      });
    expect(idsIn(await (await ask(`${TASK}/events?after=2`)).text())).toEqual([3, 4]);
  });

  it("has no content, which ends an event source, when the task has ended there", async () => {
    taskIs(TaskState.COMPLETED, 4);
    const answer = await ask(`${TASK}/events?after=4`);
    expect(answer.status).toBe(204);
    expect(await answer.text()).toBe("");
    expect(idsIn(await (await ask(`${TASK}/events?after=3`)).text())).toEqual([4]);
  });

  it("ends its call, and not the task, when the follower leaves", async () => {
    backend.script.resumeReply = async function* (position, { signal }) {
      for await (const event of restOfReply(position)) {
        yield event;
        if (event.sequence === 2) await untilAborted(signal);
      }
    };
    const reader = (await ask(`${TASK}/events`)).body?.getReader();
    for (let i = 0; i < 2; i++) await reader?.read();
    await reader?.cancel();
    await eventually(() => backend.calls.at(-1)?.signal.aborted === true);
    expect(methodsCalled()).toEqual(["getTask", "resumeReply"]);
  });

  it("ends a HEAD request at once, and its line in the log with it", async () => {
    const answer = await ask(`${TASK}/events`, { method: "HEAD" });
    expect(answer.status).toBe(200);
    expect(edge.lines).toHaveLength(1);
    expect(methodsCalled()).toEqual(["getTask"]);
  });
});

describe("POST /api/v1/a2a/tasks/{id}/cancel", () => {
  it("stops the task and answers with it", async () => {
    taskIs(TaskState.CANCELED, 3);
    const answer = await ask(`${TASK}/cancel`, { method: "POST" });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ id: "task-1", status: { state: "TASK_STATE_CANCELED" } });
    expect(methodsCalled()).toEqual(["cancelReply", "getTask"]);
  });

  it("is not a GET, which a link could make", async () => {
    expect((await ask(`${TASK}/cancel`)).status).toBe(405);
  });
});

describe.each(["", "/events", "/cancel"])("/api/v1/a2a/tasks/{id}%s", (suffix) => {
  it("has the backend's words for a task that is not the caller's", async () => {
    const refuse = () => {
      throw toConnectError(new ParleyError("not_found", "there is no task"), "r");
    };
    const { getTask, cancelReply } = backend.script;
    Object.assign(backend.script, { getTask: refuse, cancelReply: refuse });
    const answer = await ask(`${TASK}${suffix}`, { method: suffix === "/cancel" ? "POST" : "GET" });
    Object.assign(backend.script, { getTask, cancelReply });
    expect(answer.status).toBe(404);
    expect(await errorOf(answer)).toMatchObject({ code: "not_found", message: "there is no task" });
  });
});

describe("Prefer: respond-async", () => {
  const MESSAGE = { receiverId: "assistant", text: "hello", messageId: "m-1" };
  const post = (prefer: string, headers: Record<string, string> = {}) =>
    edge.post(MESSAGE, { headers: { prefer, ...headers } });

  it("answers 202 with the task and where it is to be found", async () => {
    const answer = await post("respond-async");
    expect(answer.status).toBe(202);
    expect(answer.headers.get("location")).toBe(TASK);
    expect(answer.headers.get("preference-applied")).toBe("respond-async");
    expect(await answer.json()).toMatchObject({
      id: "task-1",
      contextId: "context-1",
      status: { state: "TASK_STATE_SUBMITTED" },
      metadata: { agentId: "assistant", sequence: 1 },
    });
    expect(backend.calls[0]).toMatchObject({ method: "startReply", message: { messageId: "m-1" } });
  });

  it("costs what the reply costs: the task is followed for it, to its end", async () => {
    backend.script.resumeReply = async function* () {
      const usage = { usage: { inputTokens: 100_000, outputTokens: 50_000 }, model: "openai/small" };
      yield { ...replyTo(create(TaskSchema) as never, "done"), sequence: 2, metadata: usage };
    };
    const before = await post("");
    await before.text();
    await post("respond-async");
    await eventually(() => edge.lines.length === 2);
    expect(edge.lines[1]).toMatchObject({ status: 202, model: "openai/small" });
    const remaining = Number(/"tokens";r=(\d+)/.exec((await post("")).headers.get("ratelimit") ?? "")?.[1]);
    // The bucket refills by 3,333 a second meanwhile.
    expect(200_000 - remaining).toBeGreaterThan(100_000);
  });

  it.each(["RESPOND-ASYNC, wait=10", "wait=5, respond-async; foo", "handling=lenient,respond-async"])(
    "is understood among others (%s)",
    async (prefer) => expect((await post(prefer)).status).toBe(202),
  );

  it.each(["", "wait=10", "respond-asynchronously", "no respond-async"])(
    "is not what %j asks for",
    async (prefer) => expect((await post(prefer)).status).toBe(200),
  );

  it("does not hold for who asks for events", async () => {
    const answer = await post("respond-async", { accept: "text/event-stream" });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("preference-applied")).toBeNull();
    await answer.body?.cancel();
  });

  it("has the same failures as a message that is waited for", async () => {
    backend.script.startReply = () => {
      throw toConnectError(new ParleyError("conflict", "used for another message"), "r");
    };
    expect((await post("respond-async")).status).toBe(409);
    expect(
      (await edge.post({ receiverId: "nobody", text: "x" }, { headers: { prefer: "respond-async" } })).status,
    ).toBe(404);
  });
});
