/** Answers in Redis, for all backends: one key each, with its own time to live. Without Redis there are none. */
import { abortable } from "../../core/directory/abortable.ts";
import {
  ANSWER_CHARACTERS_MAX,
  type AnswerCache,
  type AnswerKey,
  type CachedAnswer,
} from "../agents/answer-cache.ts";
import type { RedisConnection } from "./redis-connection.ts";

/** Longest wait; a model is asked instead. */
const WAIT_MS_MAX = 100;

/** See above. */
export class RedisAnswerCache implements AnswerCache {
  readonly #redis: RedisConnection;

  constructor(redis: RedisConnection) {
    this.#redis = redis;
  }

  async get(key: AnswerKey): Promise<CachedAnswer | undefined> {
    try {
      const asked = this.#redis.run((commands) => commands.get(nameOf(key)));
      const json = await abortable(asked, AbortSignal.timeout(WAIT_MS_MAX));
      return json === null ? undefined : JSON.parse(json);
    } catch {
      return undefined;
    }
  }

  async put(key: AnswerKey, answer: CachedAnswer, timeToLiveMs: number): Promise<void> {
    const json = JSON.stringify(answer);
    if (json.length > ANSWER_CHARACTERS_MAX) return;
    await this.#redis
      .run((commands) => commands.set(nameOf(key), json, "PX", timeToLiveMs))
      .catch(() => undefined);
  }
}

function nameOf({ tenantId, hash }: AnswerKey): string {
  return `${tenantId}:answer:${hash}`;
}
