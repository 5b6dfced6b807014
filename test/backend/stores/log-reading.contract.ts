/** What readers of the durable log are told, on every database: usage and search. Needs the schema. */
import { beforeEach, describe, expect, it } from "vitest";
import type { ModelAttempt } from "../../../backend/llm/answer-event.ts";
import { GroupCommitLog } from "../../../backend/stores/message-log.ts";
import { SqlMessageLogStore } from "../../../backend/stores/sql-message-log.ts";
import { summaryEntry } from "../../../backend/tasks/log-attempt.ts";
import type { SqlClient } from "../../../core/directory/sql-client.ts";
import type { LogEntry } from "../../../core/log/message-log.ts";
import { type MessageSearch, searchMessages } from "../../../core/log/message-search.ts";
import { readUsage, type UsageQuery } from "../../../core/log/usage.ts";
import { logEntry } from "./message-log.contract.ts";

const DAY_MS = 86_400_000;
const monday = Date.parse("2026-11-16T00:00:00Z");
const week = { tenantId: "acme", fromMs: monday, toMs: monday + 7 * DAY_MS };

/** The two entries of a turn. */
function turn(id: string, createdAtMs: number, reply: Partial<LogEntry> = {}, both: Partial<LogEntry> = {}) {
  const shared = { taskId: `task-${id}`, keyId: "key-1", createdAtMs, ...both };
  const { senderId = "alice", receiverId = "assistant" } = both;
  return [
    logEntry(`m-${id}`, shared),
    logEntry(`r-${id}`, {
      ...shared,
      role: "agent",
      senderId: receiverId,
      receiverId: senderId,
      ...reply,
    }),
  ];
}

/** @param client the client under test; asked for only inside tests */
export function logReadingContract(client: () => SqlClient): void {
  const write = async (entries: LogEntry[]) => {
    const store = new SqlMessageLogStore(client());
    const log = new GroupCommitLog({ store, now: Date.now, random: Math.random, onFailure: () => undefined });
    await Promise.all(entries.map((entry) => log.append(entry)));
  };
  beforeEach(async () => {
    await client().query("DELETE FROM messages", []);
    await client().query("DELETE FROM model_attempts", []);
  });

  describe("usage", () => {
    const usage = (query: Partial<UsageQuery>) => readUsage(client(), { ...week, groupBy: [], ...query });
    const answered = { model: "openai/a", inputTokens: 10, outputTokens: 20, usageEstimated: false };
    beforeEach(() =>
      write([
        ...turn("1", monday, answered),
        ...turn("2", monday + DAY_MS - 1, {
          ...answered,
          usageEstimated: true,
          metadata: { cached: "semantic" },
        }),
        ...turn("3", monday + DAY_MS, {
          model: "preset",
          degraded: "preset-reply",
          attempts: [
            { model: "openai/a", outcome: "timeout", durationMs: 5, inputTokens: 3, outputTokens: 1 },
            { model: "openai/b", outcome: "overloaded", durationMs: 5 },
            { model: "openai/c", outcome: "canceled", durationMs: 5, inputTokens: 5, outputTokens: 6 },
            { model: "openai/c", outcome: "abandoned", durationMs: 5, inputTokens: 1, outputTokens: 0 },
            { model: "openai/b", outcome: "circuit-open", durationMs: 0 },
            { model: "openai/b", outcome: "host-busy", durationMs: 0 },
          ],
        }),
        ...turn("4", monday + DAY_MS, { content: null, errorCode: "canceled" }, { receiverId: "echo" }),
        ...turn("5", monday, answered, { tenantId: "other" }),
        ...turn("6", week.toMs, answered),
        ...turn("7", monday - 1, answered, { keyId: "key-2" }),
      ]),
    );

    it("counts one tenant's messages, replies, tokens, failed and abandoned attempts within the time", async () => {
      expect(await usage({})).toEqual([
        {
          messages: 4,
          replies: 3,
          degraded: 1,
          cached: 1,
          errors: 1,
          inputTokens: 10,
          outputTokens: 20,
          estimatedInputTokens: 10,
          estimatedOutputTokens: 20,
          summaryInputTokens: 0,
          summaryOutputTokens: 0,
          failedAttempts: 2,
          failedInputTokens: 3,
          failedOutputTokens: 1,
          abandonedAttempts: 2,
          abandonedInputTokens: 6,
          abandonedOutputTokens: 6,
        },
      ]);
    });

    it("splits by day in UTC", async () => {
      expect(await usage({ groupBy: ["day"] })).toMatchObject([
        { day: "2026-11-16", messages: 2, replies: 2, failedAttempts: 0 },
        { day: "2026-11-17", messages: 2, replies: 1, errors: 1, failedAttempts: 2 },
      ]);
    });

    it("splits by agent, and by agent and day at once", async () => {
      expect(await usage({ groupBy: ["agent"] })).toMatchObject([
        { agentId: "assistant", messages: 3, replies: 3 },
        { agentId: "echo", messages: 1, errors: 1 },
      ]);
      expect(await usage({ groupBy: ["agent", "day"] })).toMatchObject([
        { day: "2026-11-16", agentId: "assistant" },
        { day: "2026-11-17", agentId: "assistant" },
        { day: "2026-11-17", agentId: "echo" },
      ]);
    });

    it("splits by model, with the failed attempts at the model that failed", async () => {
      expect(await usage({ groupBy: ["model"] })).toMatchObject([
        { model: "openai/a", replies: 2, failedAttempts: 1, failedInputTokens: 3 },
        { model: "openai/b", replies: 0, failedAttempts: 1, failedInputTokens: 0 },
        { model: "openai/c", failedAttempts: 0, abandonedAttempts: 2, abandonedInputTokens: 6 },
        { model: "preset", replies: 1, degraded: 1 },
        { model: null, messages: 4, errors: 1 },
      ]);
    });

    it("splits by key, with the failed attempts at the caller's key", async () => {
      expect(await usage({ groupBy: ["key"], fromMs: monday - DAY_MS })).toMatchObject([
        { keyId: "key-1", messages: 4, failedAttempts: 2 },
        { keyId: "key-2", messages: 1, failedAttempts: 0 },
      ]);
    });

    it("counts summaries apart, at the agent, model and key that made them, and not as messages", async () => {
      const calls = (outcome: string, inputTokens: number): ModelAttempt => ({
        ...{
          model: "openai/s",
          outcome: outcome as ModelAttempt["outcome"],
          startedAfterMs: 0,
          durationMs: 5,
        },
        usage: { inputTokens, outputTokens: 7 },
      });
      const made = { tenantId: "acme", contextId: "c-1", agentId: "assistant", keyId: "key-3" };
      const attempts = [calls("overloaded", 30), calls("answered", 500)];
      await write([
        summaryEntry({ ...made, attempts }, monday),
        summaryEntry({ ...made, attempts, tenantId: "other" }, monday),
      ]);
      const counts = {
        ...{ messages: 0, replies: 0, errors: 0, inputTokens: 0, estimatedInputTokens: 0 },
        ...{ summaryInputTokens: 500, summaryOutputTokens: 7 },
        ...{ failedAttempts: 1, failedInputTokens: 30, abandonedAttempts: 0 },
      };
      expect(await usage({ groupBy: ["key"] })).toContainEqual(
        expect.objectContaining({ keyId: "key-3", ...counts }),
      );
      expect(await usage({ groupBy: ["model"] })).toContainEqual(
        expect.objectContaining({ model: "openai/s", ...counts }),
      );
      expect(await usage({})).toMatchObject([
        { messages: 4, replies: 3, inputTokens: 10, failedAttempts: 3 },
      ]);
      expect(await client().query("SELECT 1 FROM messages WHERE role = 'summary'", [])).toEqual([]);
    });

    it("has no rows where nothing happened", async () => {
      expect(await usage({ tenantId: "nobody" })).toEqual([]);
      expect(await usage({ tenantId: "nobody", groupBy: ["day"] })).toEqual([]);
    });

    it("spans at most 366 days, and refuses a time that is empty, reversed or none", async () => {
      expect(await usage({ fromMs: monday, toMs: monday + 366 * DAY_MS })).toHaveLength(1);
      const refused = { code: "invalid_argument" };
      await expect(usage({ toMs: monday + 366 * DAY_MS + 1 })).rejects.toMatchObject(refused);
      await expect(usage({ toMs: monday })).rejects.toMatchObject(refused);
      await expect(usage({ toMs: monday - 1 })).rejects.toMatchObject(refused);
      await expect(usage({ toMs: Number.NaN })).rejects.toMatchObject(refused);
    });
  });

  describe("the search for messages", () => {
    const find = async (search: Partial<MessageSearch>) => {
      const { messages } = await searchMessages(client(), { tenantId: "acme", ...search });
      return messages.map(({ messageId }) => messageId);
    };
    beforeEach(() =>
      write([
        ...turn("1", monday, {}, { contextId: "c-1" }),
        ...turn("2", monday + 1_000, {}, { contextId: "c-2", senderId: "bob" }),
        ...turn("3", monday + 2_000, {}, { contextId: "c-1", receiverId: "echo" }),
        ...turn("4", monday, {}, { tenantId: "other", contextId: "c-1" }),
      ]),
    );

    it("finds the tenant's messages, newest first or oldest first", async () => {
      expect(await find({})).toEqual(["r-3", "m-3", "r-2", "m-2", "r-1", "m-1"]);
      expect(await find({ order: "oldest-first" })).toEqual(["m-1", "r-1", "m-2", "r-2", "m-3", "r-3"]);
    });

    it.each<[string, Partial<MessageSearch>, string[]]>([
      ["context", { contextId: "c-1" }, ["r-3", "m-3", "r-1", "m-1"]],
      ["agent, with what was said to it", { agentId: "echo" }, ["r-3", "m-3"]],
      ["sender", { senderId: "bob" }, ["m-2"]],
      ["the beginning of a time", { fromMs: monday + 1_000 }, ["r-3", "m-3", "r-2", "m-2"]],
      ["the end of a time, which does not count", { toMs: monday + 1_000 }, ["r-1", "m-1"]],
      ["all of them", { contextId: "c-1", agentId: "assistant", senderId: "alice" }, ["m-1"]],
      ["what is not there", { contextId: "c-9" }, []],
      ["SQL", { contextId: "' OR 1=1 --", agentId: "'; DROP TABLE messages; --" }, []],
      ["what PostgreSQL cannot hold", { contextId: "a\0b" }, []],
      ["half a character", { senderId: "\ud800" }, []],
    ])("narrows by %s", async (_, search, expected) => {
      expect(await find(search)).toEqual(expected);
    });

    it.each(["newest-first", "oldest-first"] as const)("goes through all pages, %s", async (order) => {
      const whole = await find({ order });
      const seen: string[] = [];
      let cursor: string | undefined;
      do {
        const search = { tenantId: "acme", order, limit: 4, ...(cursor ? { cursor } : {}) };
        const page = await searchMessages(client(), search);
        seen.push(...page.messages.map(({ messageId }) => messageId));
        cursor = page.nextCursor;
      } while (cursor);
      expect(seen).toEqual(whole);
    });

    it("has no next page after the last message, also when the page is just full", async () => {
      const page = await searchMessages(client(), { tenantId: "acme", limit: 6 });
      expect([page.messages.length, page.nextCursor]).toEqual([6, undefined]);
    });

    it("gives every field, null for what an entry does not have", async () => {
      const { messages } = await searchMessages(client(), { tenantId: "acme", senderId: "bob" });
      expect(messages).toEqual([
        {
          messageId: "m-2",
          taskId: "task-2",
          contextId: "c-2",
          senderId: "bob",
          receiverId: "assistant",
          inReplyTo: null,
          role: "user",
          content: [{ text: "hello" }],
          metadata: null,
          model: null,
          degraded: null,
          inputTokens: null,
          outputTokens: null,
          usageEstimated: null,
          durationMs: null,
          requestId: null,
          errorCode: null,
          keyId: "key-1",
          agentVersion: null,
          createdAtMs: monday + 1_000,
        },
      ]);
    });

    it.each<[string, Partial<MessageSearch>]>([
      ["a limit of 0", { limit: 0 }],
      ["a limit over 200", { limit: 201 }],
      ["half a message", { limit: 1.5 }],
      ["a cursor of its own making", { cursor: "1; DROP TABLE messages" }],
      ["a cursor that is no position", { cursor: btoa("minus one") }],
      ["a cursor that is no number of the database", { cursor: btoa("9".repeat(19)) }],
      ["an empty cursor", { cursor: "" }],
      ["a time that ends before it begins", { fromMs: monday, toMs: monday - 1 }],
    ])("refuses %s", async (_, search) => {
      await expect(find(search)).rejects.toMatchObject({ code: "invalid_argument" });
    });
  });
}
