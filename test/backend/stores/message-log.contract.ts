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
      now: Date.now,
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
      await client().query("DELETE FROM model_attempts", []);
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

    it("keeps the key, the agent's version and every attempt, in order, with the reply and once", async () => {
      const reply = logEntry("m-1", {
        role: "agent",
        senderId: "assistant",
        receiverId: "alice",
        keyId: "key-1",
        agentVersion: 3,
        attempts: [
          { model: "openai/a", outcome: "timeout", durationMs: 1500.4 },
          {
            model: "openai/b",
            outcome: "answered",
            durationMs: 900,
            firstTokenMs: 120.6,
            inputTokens: 12,
            outputTokens: 1e12,
            usageEstimated: false,
          },
        ],
      });
      const log = newLog();
      await Promise.all([log.append(reply), log.append(reply)]);
      await log.append(reply);
      const [row] = await client().query("SELECT key_id, agent_version FROM messages", []);
      expect(row).toEqual({ key_id: "key-1", agent_version: 3 });
      const shared = { tenant_id: "acme", task_id: "task-1", agent_id: "assistant", key_id: "key-1" };
      expect(await client().query("SELECT * FROM model_attempts ORDER BY position", [])).toMatchObject([
        {
          ...shared,
          attempt: 1,
          model: "openai/a",
          outcome: "timeout",
          duration_ms: 1500,
          input_tokens: null,
        },
        {
          ...shared,
          attempt: 2,
          outcome: "answered",
          first_token_ms: 121,
          input_tokens: 12,
          output_tokens: 2_147_483_647,
          usage_estimated: false,
          created_at: new Date(reply.createdAtMs),
        },
      ]);
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

    it("is at most 100 ms behind what is appended", async () => {
      const log = newLog();
      await log.append(logEntry("warm-up"));
      const behindMs: number[] = [];
      const seen = new Set<string>();
      const appendAndSee = async (id: string) => {
        const appendedAtMs = performance.now();
        await log.append(logEntry(id));
        behindMs.push(performance.now() - appendedAtMs);
      };
      for (let burst = 0; burst < 50; burst++) {
        await Promise.all([0, 1, 2, 3].map((index) => appendAndSee(`m-${burst}-${index}`)));
        for (const id of burst % 10 === 9 ? await messageIds() : []) seen.add(id);
      }
      behindMs.sort((a, b) => a - b);
      const at = (fraction: number) => behindMs[Math.floor(behindMs.length * fraction)]?.toFixed(1);
      console.log(
        `from append to visible: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, of ${behindMs.length} rows`,
      );
      expect(seen.size).toBe(201);
      expect(behindMs[Math.floor(behindMs.length * 0.9)]).toBeLessThan(100);
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
