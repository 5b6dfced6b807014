/**
 * The task ledger in Redis: a hash and a stream of events for each task, a list for each context's order, and one work
 * stream whose pending entries are the leases. A lease is renewed by claiming its entry again, which sets its idle
 * time back; an entry that has been idle for the lease time may be claimed by another backend.
 */
import { decodeEvents, decodeRecord, encodeEvents, encodeRecord } from "../tasks/event-codec.ts";
import type {
  AcceptOutcome,
  ClaimedTask,
  EventBatch,
  EventListener,
  KnownTask,
  Lease,
  LeaseState,
  LedgerNotice,
  TaskLedger,
  TaskRecord,
  TaskReference,
} from "../tasks/task-ledger.ts";
import type { RedisConnection } from "./redis-connection.ts";
import { RedisEventReader } from "./redis-event-reader.ts";
import { ACCEPT, APPEND, ASK, CLAIM, RENEW } from "./redis-task-scripts.ts";

const WORK_KEY = "parley:work";
/** How long a task can be followed and its message is known; a running task's time begins again with each write. */
const TASK_KEEP_MS = 900_000;
/** Leases that one script renews: Redis does nothing else meanwhile. */
const LEASES_RENEWED_MAX = 200;
/** A claim that Redis comes to later than this was sent before it stood still. */
const CLAIM_DELAY_MS_MAX = 400;
/** Parts of the pending entries that one claim looks at; it goes on there the next time. */
const CLAIM_ROUNDS_MAX = 20;

/** What it is made of. */
export interface RedisTaskLedgerOptions {
  /** For commands. */
  readonly connection: RedisConnection;
  /** For blocking reads; see redis-event-reader.ts. */
  readonly readConnection: RedisConnection;
  /** Names this process among the backends; never the name of an earlier one. */
  readonly backendId: string;
  readonly leaseMs: number;
}

/** See above. */
export class RedisTaskLedger implements TaskLedger {
  readonly #options: RedisTaskLedgerOptions;
  readonly #inboxKey: string;
  readonly #reader: RedisEventReader;
  #onNotice: (notice: LedgerNotice) => void = () => {};
  #claimPosition = "0-0";
  /** What Redis said of its time, and when, on this process's monotonic clock. */
  #serverClock = { timeMs: 0, readAtMs: 0 };

  constructor(options: RedisTaskLedgerOptions) {
    const { connection, readConnection, backendId } = options;
    this.#options = options;
    this.#inboxKey = `parley:backend:${backendId}:inbox`;
    this.#reader = new RedisEventReader({
      connection: readConnection,
      inboxKey: this.#inboxKey,
      wake: () => {
        connection
          .run((redis) => redis.xadd(this.#inboxKey, "MAXLEN", "~", 1_000, "*", "kind", "wake"))
          .catch(() => {});
      },
      onNotice: (notice) => this.#onNotice(notice),
    });
  }

  get isReady(): boolean {
    return this.#options.connection.isReady;
  }

  get leaseMs(): number {
    return this.#options.leaseMs;
  }

  listen(listener: Parameters<TaskLedger["listen"]>[0]): void {
    this.#onNotice = (notice) => listener.onNotice(notice);
    this.#options.connection.listen((event) => {
      if (event.state === "ready") listener.onReady();
      else listener.onFailing();
    });
  }

  async accept(record: TaskRecord, batch: EventBatch): Promise<AcceptOutcome> {
    const { connection, backendId } = this.#options;
    const { id, tenantId, message, payloadHash } = record;
    const reference = {
      tenantId,
      taskId: id,
      contextId: message.contextId,
      senderId: message.senderId,
      messageId: message.messageId,
    };
    const [first, ...rest] = batch.events;
    if (!first) throw new Error("a task is accepted with its first event");
    const [kind, detail, isFirst] = (await connection.script(
      ACCEPT,
      [
        messageKey(tenantId, message.senderId, message.messageId),
        taskKey(reference),
        turnsKey(reference),
        eventsKey(reference),
        WORK_KEY,
      ],
      [
        ...[id, tenantId, taskPrefix(tenantId), backendId, payloadHash, encodeRecord(record)],
        ...[encodeEvents([first]), batch.reservedSequence, TASK_KEEP_MS],
      ],
    )) as string[];
    if (kind === "conflict") return { kind };
    if (kind === "known") {
      const task = await this.find({ tenantId, taskId: detail ?? "" });
      // It can only have vanished between the two calls.
      return task ? { kind, task } : this.accept(record, batch);
    }
    const lease = { ...reference, token: detail ?? "" };
    if (rest.length > 0) await this.append(lease, { ...batch, events: rest });
    return { kind: "accepted", lease, isFirst: isFirst === "1" };
  }

  append(lease: Lease, batch: EventBatch): Promise<LeaseState> {
    return this.#write(lease, batch, ["", ""]);
  }

  finish(lease: Lease, batch: EventBatch, mayRunAgain: boolean): Promise<LeaseState> {
    return this.#write(lease, batch, ["end", mayRunAgain ? "1" : ""]);
  }

  async #write(lease: Lease, { events, reservedSequence }: EventBatch, end: string[]): Promise<LeaseState> {
    const { connection, backendId } = this.#options;
    const { tenantId, taskId, senderId, messageId, token } = lease;
    const state = await connection.script(
      APPEND,
      [
        ...[taskKey(lease), eventsKey(lease), turnsKey(lease), WORK_KEY],
        messageKey(tenantId, senderId, messageId),
      ],
      [
        ...[taskId, taskPrefix(tenantId), backendId, token, events.at(-1)?.sequence ?? 0],
        ...[encodeEvents(events), reservedSequence, TASK_KEEP_MS, ...end],
      ],
    );
    return leaseStateOf(state as string[]);
  }

  async renew(leases: readonly Lease[]): Promise<LeaseState[]> {
    const { connection, backendId } = this.#options;
    const states: LeaseState[] = [];
    // Without leases it is asked for its time.
    for (let start = 0; start === 0 || start < leases.length; start += LEASES_RENEWED_MAX) {
      const some = leases.slice(start, start + LEASES_RENEWED_MAX);
      const [time, reply] = (await connection.script(
        RENEW,
        [WORK_KEY, ...some.flatMap((lease) => [taskKey(lease), turnsKey(lease)])],
        [
          backendId,
          TASK_KEEP_MS,
          ...some.flatMap(({ tenantId, taskId, token }) => [taskId, taskPrefix(tenantId), token]),
        ],
      )) as [string, string[][]];
      this.#serverClock = { timeMs: Number(time), readAtMs: performance.now() };
      states.push(...reply.map(leaseStateOf));
    }
    return states;
  }

  async claim(tasksMax: number): Promise<ClaimedTask[]> {
    const { connection, backendId, leaseMs } = this.#options;
    const claimed: ClaimedTask[] = [];
    const { timeMs, readAtMs } = this.#serverClock;
    for (let round = 0; round < CLAIM_ROUNDS_MAX && claimed.length < tasksMax; round++) {
      const askedAtMs = Math.round(timeMs + performance.now() - readAtMs);
      const args = [
        ...[backendId, leaseMs, tasksMax - claimed.length, this.#claimPosition],
        ...[askedAtMs, CLAIM_DELAY_MS_MAX],
      ];
      const [position, tasks] = (await connection.scriptBuffer(CLAIM, [WORK_KEY], args)) as [
        Buffer,
        ClaimReply[],
      ];
      this.#claimPosition = position.toString();
      claimed.push(...tasks.map(claimedTaskOf));
      if (this.#claimPosition === "0-0") break;
    }
    return claimed;
  }

  async find(task: TaskReference): Promise<KnownTask | undefined> {
    const [record, state, last] = await this.#options.connection.run((redis) =>
      redis.hmget(taskKey(task), "record", "state", "last"),
    );
    if (!record) return undefined;
    return {
      record: decodeRecord(record),
      hasEnded: state === "ended",
      sequence: Number(last),
    };
  }

  async findByMessage(tenantId: string, senderId: string, messageId: string): Promise<KnownTask | undefined> {
    const taskId = await this.#options.connection.run((redis) =>
      redis.get(messageKey(tenantId, senderId, messageId)),
    );
    return taskId === null ? undefined : this.find({ tenantId, taskId });
  }

  async cancel(task: TaskReference): Promise<void> {
    await this.#options.connection.script(ASK, [taskKey(task)], [task.taskId, "cancel"]);
  }

  follow(record: TaskRecord, listener: EventListener): () => void {
    const task = { tenantId: record.tenantId, taskId: record.id };
    const stop = this.#reader.follow(eventsKey(task), {
      onBatch: (bytes) => listener.onEvents(decodeEvents(bytes, record)),
      onBroken: (error) => listener.onBroken(error),
    });
    this.#options.connection.script(ASK, [taskKey(task)], [task.taskId, "follow"]).catch((error) => {
      stop();
      listener.onBroken(error);
    });
    return stop;
  }

  close(): void {
    this.#reader.close();
    this.#options.readConnection.close();
  }
}

type ClaimReply = [
  record: Buffer,
  token: Buffer,
  reserved: Buffer,
  takeovers: Buffer,
  state: Buffer[],
  events: Buffer[],
];

function claimedTaskOf([recordBytes, token, reserved, takeovers, state, pieces]: ClaimReply): ClaimedTask {
  const record = decodeRecord(recordBytes.toString());
  const { id, tenantId, message } = record;
  const { contextId, senderId, messageId } = message;
  return {
    record,
    lease: { tenantId, taskId: id, contextId, senderId, messageId, token: token.toString() },
    state: leaseStateOf(state.map(String)) as ClaimedTask["state"],
    events: pieces.flatMap((piece) => decodeEvents(piece, record)),
    reservedSequence: Number(reserved),
    takeovers: Number(takeovers),
  };
}

function leaseStateOf([kind, isFirst, isCanceled, isFollowed]: readonly string[]): LeaseState {
  if (kind !== "held") return { kind: kind === "gone" ? "gone" : "lost" };
  return { kind, isFirst: isFirst === "1", isCanceled: isCanceled === "1", isFollowed: isFollowed === "1" };
}

function taskPrefix(tenantId: string): string {
  return `${tenantId}:task:`;
}

function taskKey({ tenantId, taskId }: TaskReference): string {
  return taskPrefix(tenantId) + taskId;
}

function eventsKey({ tenantId, taskId }: TaskReference): string {
  return `${tenantId}:events:${taskId}`;
}

function turnsKey({ tenantId, contextId }: Pick<Lease, "tenantId" | "contextId">): string {
  return `${tenantId}:turns:${contextId}`;
}

/** A sender's name may have a colon; its length keeps two names apart. */
function messageKey(tenantId: string, senderId: string, messageId: string): string {
  return `${tenantId}:message:${senderId.length}:${senderId}:${messageId}`;
}
