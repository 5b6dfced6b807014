/** What the durable log guarantees on every database. Needs the schema. */
import { beforeEach, describe, expect, it } from "vitest";
import { GroupCommitLog } from "../../../backend/stores/message-log.ts";
import { SqlMessageLogStore } from "../../../backend/stores/sql-message-log.ts";
import type { SqlClient } from "../../../core/directory/sql-client.ts";
import type { LogEntry } from "../../../core/log/message-log.ts";

/** An entry with the fields that every entry has. */
export function logEntry(messageId: string, more: Partial<LogEntry> = {}): LogEntry {
  return {
    tenantId: "acme",
    messageId,
    taskId: "task-1",
    contextId: "context-1",
    senderId: "alice",
    receiverId: "assistant",
    role: "user",
    content: [{ text: "hello" }],
    createdAtMs: Date.parse("2026-11-22T10:20:30.123Z"),
    ...more,
  };
}

/** @param client the client under test; asked for only inside tests */
export function messageLogContract(client: () => SqlClient): void {
  const failures: { rows: number; lost: boolean }[] = [];
  const newLog = () =>
    new GroupCommitLog({
      store: new SqlMessageLogStore(client()),
      random: Math.random,
      onFailure: ({ rows, lost }) => failures.push({ rows, lost }),
    });
  const messageIds = async () => {
    const rows = await client().query<{ message_id: string }>(
      "SELECT message_id FROM messages ORDER BY position",
      [],
    );
    return rows.map(({ message_id }) => message_id);
  };

  describe("the message log in SQL", () => {
    beforeEach(async () => {
      failures.length = 0;
      await client().query("DELETE FROM messages", []);
    });

    it("keeps every field of an entry", async () => {
      const entry = logEntry("m-1", {
        inReplyTo: "m-0",
        role: "agent",
        content: [{ text: 'quotes " and \\ and ümläut 👋', data: { list: [1, null, true] } }],
        metadata: { citations: [{ title: "Läufe" }] },
        model: "openai/gpt",
        degraded: "preset-reply",
        inputTokens: 12,
        outputTokens: 34.4,
        usageEstimated: true,
        durationMs: 1234.56,
        requestId: "r-1",
        errorCode: "unavailable",
      });
      await newLog().append(entry);
      const [row] = await client().query("SELECT * FROM messages", []);
      expect(row).toMatchObject({
        tenant_id: "acme",
        message_id: "m-1",
        task_id: "task-1",
        context_id: "context-1",
        sender_id: "alice",
        receiver_id: "assistant",
        in_reply_to: "m-0",
        role: "agent",
        content: entry.content,
        metadata: entry.metadata,
        model: "openai/gpt",
        degraded: "preset-reply",
        input_tokens: 12,
        output_tokens: 34,
        usage_estimated: true,
        duration_ms: 1235,
        request_id: "r-1",
        error_code: "unavailable",
        created_at: new Date("2026-11-22T10:20:30.123Z"),
      });
    });

    it("keeps what is left out as NULL", async () => {
      await newLog().append(logEntry("m-1"));
      const [row] = await client().query("SELECT * FROM messages", []);
      expect(row).toMatchObject({ in_reply_to: null, metadata: null, input_tokens: null, model: null });
    });

    it("keeps the order in which entries were appended", async () => {
      const log = newLog();
      const ids = Array.from({ length: 500 }, (_, index) => `m-${index}`);
      await Promise.all(ids.map((id) => log.append(logEntry(id))));
      expect(await messageIds()).toEqual(ids);
    });

    it("keeps an entry once, however often it is appended", async () => {
      const log = newLog();
      await Promise.all([log.append(logEntry("m-1")), log.append(logEntry("m-1"))]);
      await log.append(logEntry("m-1", { content: [{ text: "changed" }] }));
      expect(await client().query("SELECT content FROM messages", [])).toEqual([
        { content: [{ text: "hello" }] },
      ]);
    });

    it("keeps the same message id of another sender, task or tenant as another entry", async () => {
      const log = newLog();
      await log.append(logEntry("m-1"));
      await log.append(logEntry("m-1", { senderId: "bob" }));
      await log.append(logEntry("m-1", { taskId: "task-2" }));
      await log.append(logEntry("m-1", { tenantId: "other" }));
      expect(await messageIds()).toHaveLength(4);
    });

    it("replaces characters that PostgreSQL cannot hold, and nothing else", async () => {
      const text = "a\u0000b\ud800c \\u0000 \\\u0000 \\\\u0000 \ud83d\udc4b";
      await newLog().append(logEntry("m-1", { content: [{ text, data: { "key\u0000": 1 } }] }));
      expect(await client().query("SELECT content FROM messages", [])).toEqual([
        {
          content: [
            { text: "a\ufffdb\ufffdc \\u0000 \\\ufffd \\\\u0000 \ud83d\udc4b", data: { "key\ufffd": 1 } },
          ],
        },
      ]);
    });

    it("loses only the entry that the database refuses, not the others of its batch", async () => {
      const log = newLog();
      const appends = await Promise.allSettled([
        log.append(logEntry("m-1")),
        log.append(logEntry("m-2", { role: "nobody" as "user" })),
        log.append(logEntry("m-3")),
      ]);
      expect(appends.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
      expect(appends[1]).toMatchObject({ reason: { code: "internal" } });
      expect(await messageIds()).toEqual(["m-1", "m-3"]);
      expect(failures).toEqual([{ rows: 1, lost: true }]);
    });
  });
}
