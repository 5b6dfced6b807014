/** Answers in this process: bounded, least recently used out first, gone with the process. */
import {
  ANSWER_CHARACTERS_MAX,
  type AnswerCache,
  type AnswerKey,
  type CachedAnswer,
} from "../agents/answer-cache.ts";

/** Answers kept at most, and all their characters together: some 16 MiB. */
const ANSWERS_MAX = 2_000;
const CHARACTERS_MAX = 8 * 1024 * 1024;

/** See above. */
export class MemoryAnswerCache implements AnswerCache {
  /** By use, the least recent first; as JSON, so that nobody changes what is kept. */
  readonly #kept = new Map<string, { readonly json: string; readonly untilMs: number }>();
  readonly #now: () => number;
  #characters = 0;

  /** @param now monotonic, milliseconds */
  constructor(now: () => number) {
    this.#now = now;
  }

  async get({ tenantId, hash }: AnswerKey): Promise<CachedAnswer | undefined> {
    const text = `${tenantId}\n${hash}`;
    const kept = this.#kept.get(text);
    if (!kept) return undefined;
    this.#drop(text);
    if (kept.untilMs <= this.#now()) return undefined;
    this.#put(text, kept);
    return JSON.parse(kept.json);
  }

  async put({ tenantId, hash }: AnswerKey, answer: CachedAnswer, timeToLiveMs: number): Promise<void> {
    const json = JSON.stringify(answer);
    if (json.length > ANSWER_CHARACTERS_MAX) return;
    const text = `${tenantId}\n${hash}`;
    this.#drop(text);
    this.#put(text, { json, untilMs: this.#now() + timeToLiveMs });
    for (const [oldest] of this.#kept) {
      if (this.#kept.size <= ANSWERS_MAX && this.#characters <= CHARACTERS_MAX) return;
      this.#drop(oldest);
    }
  }

  #put(text: string, kept: { readonly json: string; readonly untilMs: number }): void {
    this.#kept.set(text, kept);
    this.#characters += kept.json.length;
  }

  #drop(text: string): void {
    this.#characters -= this.#kept.get(text)?.json.length ?? 0;
    this.#kept.delete(text);
  }
}
