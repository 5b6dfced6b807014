import { toJson } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import type { AgentRunner } from "../../../backend/agents/agent-runner.ts";
import { createEchoAgent } from "../../../backend/agents/echo-agent.ts";
import type { Task } from "../../../backend/tasks/task.ts";
import { taskView } from "../../../backend/tasks/task-view.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { sleep } from "../../../core/resilience/full-jitter.ts";
import { TaskSchema } from "../../../proto/gen/lf/a2a/v1/a2a_pb.js";
import { createEngine, eventsOf, request } from "./engine-fixture.ts";

function viewOf({ id, message, events }: Task) {
  const { sequence, lastEvent } = events;
  return toJson(TaskSchema, taskView({ id, message, sequence, lastEvent }));
}

it("shows a task that is answered, with question, reply and the position of its last event", async () => {
  const task = await createEngine(createEchoAgent()).accept(request("hello there", { messageId: "m-1" }));
  const events = await eventsOf(task);
  const reply = events.at(-1);
  expect(viewOf(task)).toMatchObject({
    id: task.id,
    contextId: task.message.contextId,
    status: { state: "TASK_STATE_COMPLETED", timestamp: expect.any(String) },
    artifacts: [{ artifactId: reply?.messageId, name: "reply", parts: [{ text: "hello there" }] }],
    history: [{ messageId: "m-1", role: "ROLE_USER", parts: [{ text: "hello there" }], taskId: task.id }],
    metadata: { agentId: "scripted", sequence: events.length, model: "builtin/echo" },
  });
});

it("shows a task under way, and one that was canceled, without a reply", async () => {
  const waiting: AgentRunner = {
    async *answer(_, signal) {
      yield { type: "text-delta", text: "half an" };
      await sleep(60_000, signal);
    },
  };
  const task = await createEngine(waiting).accept(request("hi"));
  const underWay = viewOf(task);
  expect(underWay).toMatchObject({ status: { state: "TASK_STATE_WORKING" } });
  expect(underWay).not.toHaveProperty("artifacts");
  task.cancel();
  await eventsOf(task);
  expect(viewOf(task)).toMatchObject({ status: { state: "TASK_STATE_CANCELED" } });
});

it("shows why a task failed, in the words of its error event", async () => {
  const failing: AgentRunner = {
    // biome-ignore lint/correctness/useYield: it fails before it says anything
    async *answer() {
      throw new ParleyError("unavailable", "not now", { retryable: true, retryAfterMs: 2_000 });
    },
  };
  const task = await createEngine(failing).accept(request("hi"));
  await eventsOf(task);
  expect(viewOf(task)).toMatchObject({
    status: { state: "TASK_STATE_FAILED", message: { role: "ROLE_AGENT", parts: [{ text: "not now" }] } },
    metadata: {
      error: { code: "unavailable", message: "not now", requestId: "request-1", retryAfterSeconds: 2 },
    },
  });
});
