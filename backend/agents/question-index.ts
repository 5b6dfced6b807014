/** The port to questions that have been answered, to be found again by their vectors. It does not keep the answers. */

/** Whose questions: they are kept by agent, the newest {@link QUESTIONS_MAX} of each. */
export interface QuestionOwner {
  readonly tenantId: string;
  readonly agentId: string;
}

/** A question that has an answer. */
export interface AnsweredQuestion {
  /** Only questions with the same scope are compared: it stands for all that decides on an answer, but for the question. */
  readonly scope: string;
  /** Names the answer; a question with the same hash takes the place of the older one. */
  readonly hash: string;
  /** Of length 1. */
  readonly vector: Float32Array;
}

/** What is looked for. */
export type QuestionProbe = Omit<AnsweredQuestion, "hash"> & {
  /** The least cosine that counts, 0 to 1. */
  readonly threshold: number;
};

/** A question that is near enough. */
export interface CloseQuestion {
  readonly hash: string;
  /** The cosine, rounded to four digits. */
  readonly similarity: number;
}

/** Keeps questions, bounded; it may forget any of them at any time. */
export interface QuestionIndex {
  /** The nearest ones, at most {@link CLOSE_MAX}, the nearest first; none when it cannot say so soon. Never rejects. */
  closest(owner: QuestionOwner, probe: QuestionProbe): Promise<CloseQuestion[]>;
  /** Never rejects. */
  add(owner: QuestionOwner, question: AnsweredQuestion, timeToLiveMs: number): Promise<void>;
}

/** Compared one by one with each new question, a tenth of a millisecond in all; 3 MB in Redis with long vectors. */
export const QUESTIONS_MAX = 256;
/** When the answer of the nearest one has been forgotten, the next may still be there. */
export const CLOSE_MAX = 3;
/** Rounding must not keep a question from being like itself. */
const ROUNDING = 1e-6;

/** Some questions of one agent, in the order in which they came, the newest {@link QUESTIONS_MAX} of them. */
export class QuestionList {
  readonly #questions = new Map<string, AnsweredQuestion>();

  add(question: AnsweredQuestion): void {
    this.#questions.delete(question.hash);
    this.#questions.set(question.hash, question);
    for (const [oldest] of this.#questions) {
      if (this.#questions.size <= QUESTIONS_MAX) return;
      this.#questions.delete(oldest);
    }
  }

  get size(): number {
    return this.#questions.size;
  }

  closest({ scope, vector, threshold }: QuestionProbe): CloseQuestion[] {
    const close: CloseQuestion[] = [];
    for (const question of this.#questions.values()) {
      if (question.scope !== scope || question.vector.length !== vector.length) continue;
      const cosine = dot(question.vector, vector) + ROUNDING;
      if (cosine < threshold) continue;
      close.push({ hash: question.hash, similarity: Math.min(1, Math.round(cosine * 10_000) / 10_000) });
    }
    return close.sort((a, b) => b.similarity - a.similarity).slice(0, CLOSE_MAX);
  }
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let at = 0; at < a.length; at++) sum += (a[at] ?? 0) * (b[at] ?? 0);
  return sum;
}
