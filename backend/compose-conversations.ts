/**
 * Builds what remembers conversations, in Redis when there is one, else in this process, the log behind either; and
 * what makes summaries of them.
 */
import type { Logger } from "pino";
import type { SqlClient } from "../core/directory/sql-client.ts";
import { ParleyError } from "../core/errors/parley-error.ts";
import type { MessageLog } from "../core/log/message-log.ts";
import type { CachedAgentDependencies } from "./agents/cached-agent.ts";
import { ConversationSummarizer } from "./agents/conversation-summarizer.ts";
import type { ModelAgentDependencies } from "./agents/model-agent.ts";
import { SimilarAnswers } from "./agents/similar-answers.ts";
import type { QuestionEmbedder } from "./llm/question-embedder.ts";
import { DurableConversationMemory } from "./stores/durable-conversation-memory.ts";
import { MemoryAnswerCache } from "./stores/memory-answer-cache.ts";
import { MemoryConversationStore } from "./stores/memory-conversation-store.ts";
import { MemoryQuestionIndex } from "./stores/memory-question-index.ts";
import { RedisAnswerCache } from "./stores/redis-answer-cache.ts";
import type { RedisConnection } from "./stores/redis-connection.ts";
import { RedisConversationStore } from "./stores/redis-conversation-store.ts";
import { RedisQuestionIndex } from "./stores/redis-question-index.ts";
import { SqlConversationLog } from "./stores/sql-conversation-log.ts";
import { summaryEntry } from "./tasks/log-attempt.ts";

/** What it is built from. */
export interface ConversationParts {
  readonly client: SqlClient;
  readonly redis: RedisConnection | undefined;
  readonly models: ModelAgentDependencies;
  /** Where what summaries cost is kept. */
  readonly log: MessageLog;
  readonly logger: Logger;
  /** Monotonic, milliseconds. */
  readonly now: () => number;
}

/** See above. */
export function composeConversations({ client, redis, models, log, logger, now }: ConversationParts) {
  let connectionNumber = 1;
  const memory = new DurableConversationMemory({
    store: redis ? new RedisConversationStore(redis) : new MemoryConversationStore(),
    log: new SqlConversationLog(client),
    counter: models.counter,
    connectionNumber: () => connectionNumber,
    onFailure: ({ operation, error }) => {
      // That Redis or the database is away is logged once, where it is noticed.
      const isAway = error instanceof ParleyError && error.code === "unavailable";
      logger[isAway ? "debug" : "warn"]({ operation, err: error }, "a conversation could not be reached");
    },
  });
  redis?.listen(({ state }) => {
    connectionNumber += 1;
    if (state === "ready") void memory.forgetShort();
  });
  const summarizer = new ConversationSummarizer({
    ...{ ...models, memory, now },
    onCalls: (calls) => {
      log.append(summaryEntry(calls, Date.now())).catch((error) => {
        logger.error({ ...calls, err: error }, "what a summary has cost could not be recorded");
      });
    },
    onEnd: ({ error, ...job }) => {
      if (error) logger.warn({ ...job, err: error }, "a conversation could not be summarised");
      else logger.info(job, "conversation summarised");
    },
  });
  return { memory, summarizer };
}

/** Answers that may be given again: in Redis for all backends, else in this process. */
export function composeAnswerCache(
  redis: RedisConnection | undefined,
  embed: QuestionEmbedder,
  now: () => number,
): Pick<CachedAgentDependencies, "cache" | "similar"> {
  const cache = redis ? new RedisAnswerCache(redis) : new MemoryAnswerCache(now);
  const index = redis ? new RedisQuestionIndex(redis) : new MemoryQuestionIndex();
  return { cache, similar: new SimilarAnswers({ index, cache, embed }) };
}
