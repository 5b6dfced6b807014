import { create, fromJsonString, toJsonString } from "@bufbuild/protobuf";
import type { SqlStorage } from "@cloudflare/workers-types";
import { beforeEach, describe, expect, it } from "vitest";
import { textContent } from "../../../core/messages/envelope.ts";
import { Mailbox } from "../../../edge/peers/mailbox.ts";
import {
  BYTES_WAITING_MAX,
  ENDED_KEPT_MAX,
  FORGET_EVERY,
  HOPS_MAX,
  MESSAGES_WAITING_MAX,
  OPEN_MAX,
  STORED_BYTES_MAX,
} from "../../../edge/peers/mailbox-limits.ts";
import { MailboxStore } from "../../../edge/peers/mailbox-store.ts";
import { readPeerEvent } from "../../../edge/peers/peer-task.ts";
import { type A2AMessage, A2AMessageSchema } from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { nodeSqlStorage } from "../../support/node-sql-storage.ts";

let nowMs: number;
let sql: SqlStorage;
let store: MailboxStore;
let mailbox: Mailbox;

beforeEach(() => {
  nowMs = 1_000;
  sql = nodeSqlStorage();
  store = new MailboxStore(sql);
  store.create();
  mailbox = new Mailbox({ store, now: () => nowMs, onEvent: () => {} });
});

type Fields = Partial<Pick<A2AMessage, "messageId" | "receiverId" | "senderId" | "inReplyTo" | "metadata">>;

function textOf(fields: Fields, text = "hello"): string {
  const message = create(A2AMessageSchema, {
    messageId: "m-1",
    senderId: "alice",
    receiverId: "bob",
    ...fields,
    body: { case: "content", value: textContent(text) },
  });
  return toJsonString(A2AMessageSchema, message);
}

function accept(fields: Fields = {}, text?: string) {
  const subject = fields.senderId ?? "alice";
  return mailbox.accept({ tenantId: "t", peerId: "bob", text: textOf(fields, text), subject, ttlMs: 500 });
}

function reply(fields: Fields, answer = "yes") {
  const text = textOf(
    { messageId: "r-1", senderId: "bob", receiverId: "alice", inReplyTo: "m-1", ...fields },
    answer,
  );
  return mailbox.reply({ tenantId: "t", peerId: "bob", text, subject: "bob", ttlMs: 0 });
}

async function taskOf(fields: Fields = {}): Promise<string> {
  const { events } = await accept(fields);
  return readPeerEvent(events[0] ?? "").taskId;
}

function deliveriesOf(taskId: string): unknown[] {
  const { events } = mailbox.events({ taskId, subject: "alice" }, 0);
  return events.map((event) => readPeerEvent(event).metadata?.["delivery"]);
}

describe("a mailbox", () => {
  it("keeps messages in order until the peer has them, with their task and their context", async () => {
    for (const messageId of ["m-1", "m-2", "m-3"]) await accept({ messageId });
    const waiting = store.waiting(10).map(({ text }) => fromJsonString(A2AMessageSchema, text));
    expect(waiting.map(({ messageId }) => messageId)).toEqual(["m-1", "m-2", "m-3"]);
    expect(waiting[0]?.taskId).toMatch(/^peer:bob:/);
    expect(waiting[0]?.contextId).not.toBe("");
    mailbox.acknowledge(2);
    mailbox.acknowledge(2);
    expect(store.waiting(10).map(({ messageId }) => messageId)).toEqual(["m-1", "m-3"]);
  });

  it("numbers what becomes of a message from 1 without gaps", async () => {
    const taskId = await taskOf();
    mailbox.acknowledge(1);
    reply({});
    const { events, ended } = mailbox.events({ taskId, subject: "alice" }, 0);
    expect(events.map((event) => readPeerEvent(event).sequence)).toEqual([1, 2, 3]);
    expect(deliveriesOf(taskId)).toEqual(["accepted", "delivered", "answered"]);
    expect(ended).toBe(true);
  });

  it("takes a reply once, and no other one after it", async () => {
    const taskId = await taskOf();
    expect(reply({})).toBe(true);
    expect(reply({})).toBe(true);
    expect(() => reply({ messageId: "r-2" })).toThrow("has been answered");
    expect(deliveriesOf(taskId)).toEqual(["accepted", "answered"]);
    expect(reply({ inReplyTo: "m-unknown", messageId: "r-3" })).toBe(false);
    expect(reply({ receiverId: "mallory", messageId: "r-4" })).toBe(false);
  });

  it("ends what nobody came for, and what nobody answered, when its time is up and not before", async () => {
    const [unread, unanswered] = [await taskOf(), await taskOf({ messageId: "m-2" })];
    mailbox.acknowledge(2);
    nowMs += 499;
    mailbox.expire();
    expect([deliveriesOf(unread), deliveriesOf(unanswered)]).toEqual([
      ["accepted"],
      ["accepted", "delivered"],
    ]);
    nowMs += 1;
    mailbox.expire();
    expect(deliveriesOf(unread)).toEqual(["accepted", "expired"]);
    expect(deliveriesOf(unanswered)).toEqual(["accepted", "delivered", "unanswered"]);
    expect(store.waiting(10)).toEqual([]);
  });

  it("shows a task to the caller that sent the message, and to no other", async () => {
    const taskId = await taskOf();
    expect(() => mailbox.events({ taskId, subject: "mallory" }, 0)).toThrow("there is no task");
    expect(() => mailbox.cancel({ taskId, subject: "mallory" })).toThrow("there is no task");
    expect(() => mailbox.events({ taskId, subject: "alice" }, 2)).toThrow("in the future");
    expect(mailbox.events({ taskId, subject: "alice" }, 1)).toEqual({ events: [], ended: false });
  });

  it("has room for so many messages, and for those that come when some have gone", async () => {
    for (let count = 0; count < MESSAGES_WAITING_MAX; count++) await accept({ messageId: `m-${count}` });
    await expect(accept({ messageId: "more" })).rejects.toMatchObject({
      code: "resource_exhausted",
      reason: "mailbox-full",
    });
    mailbox.acknowledge(1);
    await accept({ messageId: "more" });
  });

  it("has room for so many bytes", async () => {
    const text = "x".repeat(STORED_BYTES_MAX - 1_000);
    const fits = Math.floor(BYTES_WAITING_MAX / STORED_BYTES_MAX);
    for (let count = 0; count < fits; count++) await accept({ messageId: `m-${count}` }, text);
    await expect(accept({ messageId: "more" }, text)).rejects.toMatchObject({ reason: "mailbox-full" });
  });

  it("refuses a message and a reply that a row of SQLite has no room for, and says so", async () => {
    const large = { code: "invalid_argument", reason: "message-too-large" };
    await expect(accept({}, "あ".repeat(STORED_BYTES_MAX / 3))).rejects.toMatchObject(large);
    await accept();
    // Its quotation marks are escaped twice.
    expect(() => reply({}, '"'.repeat(STORED_BYTES_MAX / 3))).toThrow(expect.objectContaining(large));
    expect(reply({ messageId: "r-2" })).toBe(true);
  });

  it("gives up the oldest message that the peer has and does not answer, when it has too many open ones", async () => {
    const first = await taskOf({ messageId: "first" });
    mailbox.acknowledge(1);
    sql.exec(
      `INSERT INTO entries (task_id, message_id, sender_id, context_id, subject, fingerprint, text, hops, session_id,
        expires_at) WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
        SELECT 't-' || i, 'm-' || i, 'alice', 'c', 'alice', 'f', '', 0, '', 10000 FROM n`,
      OPEN_MAX,
    );
    expect(deliveriesOf(first)).toEqual(["accepted", "delivered"]);
    await accept({ messageId: "one more" });
    expect(deliveriesOf(first)).toEqual(["accepted", "delivered", "unanswered"]);
    expect(store.openCount()).toBe(OPEN_MAX);
  });

  it("keeps no more ended messages than its bound, however fast they come", async () => {
    for (let count = 0; count < ENDED_KEPT_MAX + 3 * FORGET_EVERY; count++) {
      await accept({ messageId: `m-${count}` });
      reply({ messageId: `r-${count}`, inReplyTo: `m-${count}` });
    }
    expect(store.endedCount()).toBeLessThanOrEqual(ENDED_KEPT_MAX + FORGET_EVERY);
  });

  it("leaves no trace of reading in a mailbox that nobody has used", () => {
    const sql = nodeSqlStorage();
    const unused = new Mailbox({ store: new MailboxStore(sql), now: () => 0, onEvent: () => {} });
    expect(() => unused.events({ taskId: "peer:bob:x", subject: "alice" }, 0)).toThrow("there is no task");
    expect(unused.reply({ tenantId: "t", peerId: "bob", text: textOf({}), subject: "bob", ttlMs: 0 })).toBe(
      false,
    );
    expect(sql.exec("SELECT name FROM sqlite_master").toArray()).toEqual([]);
  });

  it("cuts answers to answers past the limit, whoever counts", async () => {
    await accept({ metadata: { hops: HOPS_MAX } });
    await expect(accept({ messageId: "m-2", metadata: { hops: HOPS_MAX + 1 } })).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "loop",
    });
    expect(() => reply({})).toThrow("without end");
    let inReplyTo = "";
    let rounds = 0;
    const chain = async () => {
      for (; rounds < HOPS_MAX; rounds++) {
        await accept({ messageId: `c-${rounds}`, inReplyTo });
        reply({ messageId: `a-${rounds}`, inReplyTo: `c-${rounds}` });
        inReplyTo = `a-${rounds}`;
      }
    };
    await expect(chain()).rejects.toMatchObject({ reason: "loop" });
    expect(rounds).toBe(HOPS_MAX / 2);
  });

  it("forgets what has ended after a while, and more than it keeps", async () => {
    for (let count = 0; count < 5; count++) {
      await accept({ messageId: `m-${count}` });
      reply({ messageId: `r-${count}`, inReplyTo: `m-${count}` });
    }
    store.forget(0, 3);
    expect(store.findMessage("alice", "m-1")).toBeUndefined();
    expect(store.findMessage("alice", "m-2")).toBeDefined();
    store.forget(nowMs + 1, 3);
    expect(store.isEmpty()).toBe(true);
  });
});
