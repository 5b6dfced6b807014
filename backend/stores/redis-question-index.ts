/**
 * Answered questions in Redis, for all backends: one stream for each agent, its newest entries. A backend keeps a copy
 * of the streams that it is asked about and reads only what is new in them; comparing vectors happens here.
 */
import { abortable } from "../../core/directory/abortable.ts";
import { LruMap } from "../../core/directory/lru-map.ts";
import {
  type AnsweredQuestion,
  type CloseQuestion,
  QUESTIONS_MAX,
  type QuestionIndex,
  QuestionList,
  type QuestionOwner,
  type QuestionProbe,
} from "../agents/question-index.ts";
import { AGENTS_MAX } from "./memory-question-index.ts";
import type { RedisConnection } from "./redis-connection.ts";

/** Longest wait; a model is asked instead. */
const WAIT_MS_MAX = 100;

/** What a backend has read of a stream. */
interface Copy {
  readonly list: QuestionList;
  lastId: string | undefined;
}

/** See above. */
export class RedisQuestionIndex implements QuestionIndex {
  readonly #redis: RedisConnection;
  readonly #copies = new LruMap<Copy>(AGENTS_MAX);

  constructor(redis: RedisConnection) {
    this.#redis = redis;
  }

  async closest(owner: QuestionOwner, probe: QuestionProbe): Promise<CloseQuestion[]> {
    try {
      const copy = await abortable(this.#read(nameOf(owner)), AbortSignal.timeout(WAIT_MS_MAX));
      return copy.list.closest(probe);
    } catch {
      return [];
    }
  }

  async add(owner: QuestionOwner, question: AnsweredQuestion, timeToLiveMs: number): Promise<void> {
    const { scope, hash, vector } = question;
    const name = nameOf(owner);
    const bytes = Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64");
    await this.#redis
      .run((commands) =>
        commands
          .multi()
          .xadd(name, "MAXLEN", QUESTIONS_MAX, "*", "scope", scope, "hash", hash, "vector", bytes)
          .pexpire(name, timeToLiveMs)
          .exec(),
      )
      .catch(() => undefined);
  }

  /** Two at once may read the same entries, which changes nothing. */
  async #read(name: string): Promise<Copy> {
    const known = this.#copies.get(name);
    const copy: Copy = known ?? { list: new QuestionList(), lastId: undefined };
    if (!known) this.#copies.set(name, copy);
    const from = copy.lastId === undefined ? "-" : `(${copy.lastId}`;
    const entries = await this.#redis.run((commands) =>
      commands.xrange(name, from, "+", "COUNT", QUESTIONS_MAX),
    );
    for (const [id, fields] of entries) {
      const question = questionOf(fields);
      if (question) copy.list.add(question);
      copy.lastId = id;
    }
    return copy;
  }
}

function questionOf(fields: readonly string[]): AnsweredQuestion | undefined {
  const [, scope, , hash, , encoded] = fields;
  if (scope === undefined || hash === undefined || encoded === undefined) return undefined;
  const bytes = Buffer.from(encoded, "base64");
  if (bytes.length === 0 || bytes.length % 4 !== 0) return undefined;
  // Copied: four bytes must begin at a multiple of four.
  return { scope, hash, vector: new Float32Array(new Uint8Array(bytes).buffer) };
}

function nameOf({ tenantId, agentId }: QuestionOwner): string {
  return `${tenantId}:questions:${agentId}`;
}
