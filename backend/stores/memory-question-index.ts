/** Answered questions in this process: the least recently asked agents' out first, gone with the process. */
import { LruMap } from "../../core/directory/lru-map.ts";
import {
  type AnsweredQuestion,
  type CloseQuestion,
  type QuestionIndex,
  QuestionList,
  type QuestionOwner,
  type QuestionProbe,
} from "../agents/question-index.ts";

/** Agents whose questions are in memory: 20 MB with vectors of 384 numbers, 100 MB with the longest. */
export const AGENTS_MAX = 50;

/** See above. Times to live are the answers'; a question without an answer is pushed out by the newer ones. */
export class MemoryQuestionIndex implements QuestionIndex {
  readonly #agents = new LruMap<QuestionList>(AGENTS_MAX);

  async closest(owner: QuestionOwner, probe: QuestionProbe): Promise<CloseQuestion[]> {
    return this.#agents.get(nameOf(owner))?.closest(probe) ?? [];
  }

  async add(owner: QuestionOwner, question: AnsweredQuestion): Promise<void> {
    const name = nameOf(owner);
    const list = this.#agents.get(name) ?? new QuestionList();
    list.add(question);
    this.#agents.set(name, list);
  }
}

function nameOf({ tenantId, agentId }: QuestionOwner): string {
  return `${tenantId}\n${agentId}`;
}
