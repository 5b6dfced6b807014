/** Which exchanges the durable log gives back of a context, on every database. Needs the schema. */
import { beforeEach, describe, expect, it } from "vitest";
import { GroupCommitLog } from "../../../backend/stores/message-log.ts";
import { SqlConversationLog } from "../../../backend/stores/sql-conversation-log.ts";
import { SqlMessageLogStore } from "../../../backend/stores/sql-message-log.ts";
import type { SqlClient } from "../../../core/directory/sql-client.ts";
import type { LogEntry } from "../../../core/log/message-log.ts";
import { logEntry } from "./message-log.contract.ts";

const key = { tenantId: "acme", contextId: "talk" };
const signal = new AbortController().signal;
const said = (text: string) => ({ parts: [{ text }] });

/** The two entries of a turn. */
function turn(id: string, reply: Partial<LogEntry> = {}, both: Partial<LogEntry> = {}): LogEntry[] {
  const shared = { contextId: key.contextId, taskId: `task-${id}`, createdAtMs: 1_000 + Number(id), ...both };
  return [
    logEntry(`m-${id}`, { content: said(`question ${id}`), ...shared }),
    logEntry(`r-${id}`, { ...shared, role: "agent", content: said(`answer ${id}`), ...reply }),
  ];
}

/** @param client the client under test; asked for only inside tests */
export function conversationLogContract(client: () => SqlClient): void {
  const write = async (entries: LogEntry[]) => {
    const store = new SqlMessageLogStore(client());
    const log = new GroupCommitLog({ store, now: Date.now, random: Math.random, onFailure: () => undefined });
    await Promise.all(entries.map((entry) => log.append(entry)));
  };
  const newest = (of = key) => new SqlConversationLog(client()).newest(of, signal);
  const idsOf = async (of = key) => (await newest(of)).map(({ turns }) => turns[0]?.text.slice(9)).join(" ");

  describe("a conversation in the log", () => {
    beforeEach(async () => {
      await client().query("DELETE FROM messages", []);
    });

    it("is its exchanges in order, question and answer together, with data as text", async () => {
      const [question, answer] = turn("2", {}, {});
      const data = { parts: [{ text: "question 2" }, { data: { numbers: [1] } }] };
      await write([...turn("1"), { ...question, content: data } as LogEntry, answer as LogEntry]);
      expect(await newest()).toEqual([
        {
          id: "alice\nm-1",
          atMs: 1_001,
          turns: [
            { role: "user", text: "question 1" },
            { role: "assistant", text: "answer 1" },
          ],
        },
        {
          id: "alice\nm-2",
          atMs: 1_002,
          turns: [
            { role: "user", text: 'question 2\n{"numbers":[1]}' },
            { role: "assistant", text: "answer 2" },
          ],
        },
      ]);
    });

    it("has no turn without an answer, with a preset reply, or with a history of the sender's", async () => {
      await write([
        ...turn("1"),
        ...turn("2", { content: { parts: [] }, errorCode: "canceled" }),
        ...turn("3", { degraded: "preset-reply" }),
        ...turn("4", {}, { ownHistory: true }),
        ...turn("5").slice(0, 1),
        ...turn("6"),
      ]);
      expect(await idsOf()).toBe("1 6");
    });

    it("has of a turn that two backends answered the newest answer", async () => {
      const [, other] = turn("1", { messageId: "r-1-again", content: said("another answer") });
      await write([...turn("1"), other as LogEntry]);
      expect((await newest()).map(({ turns }) => turns[1]?.text)).toEqual(["another answer"]);
    });

    it("has nothing of another context, nor of another tenant's context of the same id", async () => {
      await write([
        ...turn("1"),
        ...turn("2", {}, { contextId: "other" }),
        ...turn("3", {}, { tenantId: "umbrella" }),
      ]);
      expect(await idsOf()).toBe("1");
      expect(await idsOf({ ...key, tenantId: "umbrella" })).toBe("3");
      expect(await idsOf({ ...key, contextId: "nothing" })).toBe("");
    });

    it("is the newest hundred exchanges at most, and of long ones fewer", async () => {
      const turns = Array.from({ length: 120 }, (_, index) => turn(String(index)));
      await write(turns.flat());
      const exchanges = await newest();
      expect(exchanges).toHaveLength(100);
      expect(exchanges[0]?.turns[0]?.text).toBe("question 20");
      const long = "x".repeat(150_000);
      const longTurns = ["1", "2", "3", "4", "5"].map((id) =>
        turn(id, { content: said(long) }, {
          contextId: "long",
          taskId: `long-${id}`,
          messageId: id,
        } as never),
      );
      await write(longTurns.flat().map((entry, index) => ({ ...entry, messageId: `long-${index}` })));
      expect((await newest({ ...key, contextId: "long" })).length).toBe(5);
      await write(
        Array.from({ length: 6 }, (_, index) =>
          turn(String(index + 10), { content: said(long) }, { contextId: "long" }),
        ).flat(),
      );
      expect((await newest({ ...key, contextId: "long" })).length).toBe(5);
    });
  });
}
