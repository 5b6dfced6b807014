/** The port to answers that may be given again. What makes two questions the same is not its business. */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";

/** An answer as it was given. */
export interface CachedAnswer {
  /** The parts, as ProtoJSON. */
  readonly parts: readonly JsonValue[];
  /** What went out with it. */
  readonly metadata: JsonObject;
  readonly model: string;
}

/** Names an answer: within a tenant, by a hash of all that decides what the answer is. */
export interface AnswerKey {
  readonly tenantId: string;
  readonly hash: string;
}

/** Keeps answers, bounded in number, size and time. It may forget any of them at any time. */
export interface AnswerCache {
  /** Undefined when it has none, or does not say so soon. Never rejects. */
  get(key: AnswerKey): Promise<CachedAnswer | undefined>;
  /** Keeps an answer, or not: one longer than {@link ANSWER_CHARACTERS_MAX} is not worth it. Never rejects. */
  put(key: AnswerKey, answer: CachedAnswer, timeToLiveMs: number): Promise<void>;
}

/** Of an answer's JSON. */
export const ANSWER_CHARACTERS_MAX = 256 * 1024;
