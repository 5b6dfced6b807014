/** StreamMessage, over real gRPC: turns side by side, stopped one by one, bounded, and not tied to their caller. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AgentRunner } from "../../../backend/agents/agent-runner.ts";
import { createEchoAgent } from "../../../backend/agents/echo-agent.ts";
import { type A2AMessage, A2AMessageSchema } from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { createEngine } from "../tasks/engine-fixture.ts";
import { startBackend } from "./backend-fixture.ts";

const TURNS_MAX = 32;

let backend: Awaited<ReturnType<typeof startBackend>>;
let stopped: number;

/** Begins to answer "wait" and goes on until it is stopped; echoes everything else. */
const echo = createEchoAgent();
const agent: AgentRunner = {
  async *answer(turn, signal) {
    const part = turn.content.parts[0]?.content;
    if (part?.value !== "wait") return yield* echo.answer(turn, signal);
    signal.addEventListener("abort", () => {
      stopped += 1;
    });
    yield { type: "text-delta", text: "…" };
    await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  },
};

beforeEach(async () => {
  stopped = 0;
  backend = await startBackend(createEngine(agent));
});
afterEach(() => backend.stop());

type Sent = MessageInitShape<typeof A2AMessageSchema>;

/** A message in a context of its own. */
const say = (messageId: string, text: string): Sent => ({
  ...{ messageId, contextId: `context-of-${messageId}`, receiverId: "scripted" },
  text,
});

/** Sends the first messages, and whatever `react` makes of an event; ends when it returns `end`. */
async function converse(first: Sent[], react: (event: A2AMessage) => Sent | "end" | undefined) {
  const queue = [...first];
  let [wake, ended] = [Promise.withResolvers<void>(), false];
  const messages = async function* () {
    while (true) {
      for (let next = queue.shift(); next; next = queue.shift()) yield create(A2AMessageSchema, next);
      if (ended) return;
      await wake.promise;
      wake = Promise.withResolvers();
    }
  };
  const seen: A2AMessage[] = [];
  for await (const event of backend.agents().streamMessage(messages(), { headers: backend.headers })) {
    seen.push(event);
    const reaction = react(event);
    if (reaction === "end") ended = true;
    else if (reaction) queue.push(reaction);
    wake.resolve();
  }
  return seen;
}

const casesOf = (seen: A2AMessage[], messageId: string) =>
  seen.filter(({ inReplyTo }) => inReplyTo === messageId).map(({ body }) => body.case);

describe("a conversation", () => {
  it("has a turn stopped by its message or by its task, and goes on", async () => {
    const cancel = { case: "cancel", value: {} } as const;
    const seen = await converse([say("m-1", "wait"), say("m-2", "wait")], ({ body, inReplyTo, taskId }) => {
      if (body.case === "delta" && inReplyTo === "m-1") return { inReplyTo, body: cancel };
      if (body.case === "delta" && inReplyTo === "m-2") return { taskId, body: cancel };
      if (body.case === "status" && stopped === 2) return say("m-3", "hello");
      return body.case === "content" ? "end" : undefined;
    });
    for (const id of ["m-1", "m-2"]) expect(casesOf(seen, id)).toEqual(["accepted", "delta", "status"]);
    expect(casesOf(seen, "m-3").at(-1)).toBe("content");
    expect(stopped).toBe(2);
  });

  it("answers one context while another one's turn lasts, each with numbers of its own", async () => {
    const seen = await converse([say("m-1", "wait"), say("m-2", "hello")], ({ body }) => {
      if (body.case === "content") return { inReplyTo: "m-1", body: { case: "cancel", value: {} } };
      return body.case === "status" ? "end" : undefined;
    });
    expect(casesOf(seen, "m-2").at(-1)).toBe("content");
    for (const id of ["m-1", "m-2"]) {
      const sequences = seen.filter(({ inReplyTo }) => inReplyTo === id).map(({ sequence }) => sequence);
      expect(sequences).toEqual(sequences.map((_, index) => index + 1));
    }
  });

  it("refuses one turn too many at once, with a time to come back, and keeps the others", async () => {
    const leave = new AbortController();
    const all = Array.from({ length: TURNS_MAX + 1 }, (_, index) => say(`m-${index}`, "wait"));
    const messages = async function* () {
      for (const message of all) yield create(A2AMessageSchema, message);
    };
    const options = { headers: backend.headers, signal: leave.signal };
    for await (const { body, inReplyTo } of backend.agents().streamMessage(messages(), options)) {
      if (body.case !== "error") continue;
      expect(inReplyTo).toBe(`m-${TURNS_MAX}`);
      expect(body.value).toMatchObject({ code: "resource_exhausted", retryAfterSeconds: 1 });
      break;
    }
    expect(stopped).toBe(0);
  });

  it("stops no turn when its caller leaves", async () => {
    const options = { headers: backend.headers };
    const messages = async function* () {
      yield create(A2AMessageSchema, say("m-1", "wait"));
      await new Promise(() => {});
    };
    let taskId = "";
    for await (const event of backend.agents().streamMessage(messages(), options)) {
      taskId = event.taskId;
      if (event.body.case === "delta") break;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(stopped).toBe(0);
    await backend.agents().cancelReply({ taskId }, options);
    expect(stopped).toBe(1);
  });
});
