/** What of a turn reaches the durable log. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { createLogTurnRecorder } from "../../../backend/tasks/log-turn-recorder.ts";
import { Task } from "../../../backend/tasks/task.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import type { LogEntry } from "../../../core/log/message-log.ts";
import { textContent } from "../../../core/messages/envelope.ts";
import { PartSchema } from "../../../proto/gen/lf/a2a/v1/a2a_pb.js";
import { HistorySchema } from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { message } from "./engine-fixture.ts";

const nowMs = Date.parse("2026-11-22T10:00:00Z");

function newTurn(question = message("hi")) {
  const entries: LogEntry[] = [];
  const append = async (entry: LogEntry) => {
    entries.push(entry);
  };
  const recorder = createLogTurnRecorder(
    { hasRoom: () => true, state: () => "ready", append },
    () => nowMs,
    "backend-1",
  );
  question.messageId = "m-1";
  question.contextId = "context-1";
  question.senderId = "ann";
  question.createdAt = timestampFromMs(nowMs);
  const task = new Task({
    record: {
      id: "task-1",
      tenantId: "acme",
      owner: "ann",
      message: question,
      requestId: "request-1",
      keyId: "key-1",
      agentVersion: 7,
      payloadHash: "hash",
    },
    now: () => nowMs,
  });
  task.attempts.push(
    { model: "openai/a", outcome: "rate-limited", startedAfterMs: 0, durationMs: 10 },
    {
      model: "openai/b",
      outcome: "answered",
      startedAfterMs: 12,
      durationMs: 20,
      firstTokenMs: 5,
      usage: { inputTokens: 3, outputTokens: 4, estimated: true },
    },
  );
  return { recorder, task, entries };
}

const shared = {
  tenantId: "acme",
  taskId: "task-1",
  contextId: "context-1",
  requestId: "request-1",
  keyId: "key-1",
  agentVersion: 7,
  createdAtMs: nowMs,
};
const attempts = [
  { model: "openai/a", outcome: "rate-limited", durationMs: 10 },
  {
    model: "openai/b",
    outcome: "answered",
    durationMs: 20,
    firstTokenMs: 5,
    inputTokens: 3,
    outputTokens: 4,
    usageEstimated: true,
  },
];

describe("the recorder of turns", () => {
  it("records the question with the key and the agent's version, and no attempts", async () => {
    const { recorder, task, entries } = newTurn();
    await recorder.question(task);
    expect(entries).toEqual([
      {
        ...shared,
        messageId: "m-1",
        senderId: "ann",
        receiverId: "scripted",
        role: "user",
        content: { parts: [{ text: "hi", mediaType: "text/plain" }] },
        recovery: { owner: "ann", backendId: "backend-1", payloadHash: "hash" },
      },
    ]);
  });

  it("records the reply with every attempt, the failed ones among them", async () => {
    const { recorder, task, entries } = newTurn();
    const reply = task.reply(textContent("hello").parts, {});
    await recorder.answer(task, reply, { model: "openai/b", inputTokens: 3, outputTokens: 4 }, 31.4);
    expect(entries).toMatchObject([
      { ...shared, role: "agent", inReplyTo: "m-1", model: "openai/b", durationMs: 31, attempts },
    ]);
  });

  it("records of a failed turn why, and the attempts made by then", async () => {
    const { recorder, task, entries } = newTurn();
    await recorder.failure(task, new ParleyError("deadline_exceeded", "too late"), 31.4);
    expect(entries).toMatchObject([
      { ...shared, role: "agent", errorCode: "deadline_exceeded", content: { parts: [] }, attempts },
    ]);
  });

  it("marks both sides of a turn whose sender brought its own history", async () => {
    const { recorder, task, entries } = newTurn(message("hi", { history: create(HistorySchema) }));
    await recorder.question(task);
    await recorder.answer(task, task.reply([], {}), { model: "openai/b" }, 1);
    expect(entries.map(({ ownHistory }) => ownHistory)).toEqual([true, true]);
    const plain = newTurn();
    await plain.recorder.question(plain.task);
    expect(plain.entries[0]?.ownHistory).toBeUndefined();
  });

  it("rejects, and does not throw, for a content that has no JSON form", async () => {
    const value = { kind: { case: "numberValue" as const, value: Number.NaN } };
    const question = message("hi");
    const part = create(PartSchema, { content: { case: "data", value } });
    if (question.body.case === "content") question.body.value.parts.push(part);
    const { recorder, task } = newTurn(question);
    await expect(recorder.question(task)).rejects.toThrow();
  });
});
