/**
 * The commands that give agents documents. Documents are read here; where a backend runs on the database, it does
 * the rest, and where none does (the embedded database), this process does it before it ends.
 */
import { pino } from "pino";
import { composeIngestion, composeKnowledge } from "../backend/compose-knowledge.ts";
import { readBackendConfig } from "../backend/config.ts";
import type { DocumentInput } from "../backend/knowledge/document-input.ts";
import type { Ingestion } from "../backend/knowledge/ingestion.ts";
import type { JobProgress } from "../backend/knowledge/stored-document.ts";
import { PgliteSqlClient } from "../backend/stores/pglite-sql-client.ts";
import type { AdministrationCall } from "../core/administration/actor.ts";
import { ParleyError } from "../core/errors/parley-error.ts";
import { sleep } from "../core/resilience/full-jitter.ts";
import { type AdminCommand, readNumber } from "./admin-command.ts";
import { findKnowledgeFiles, type KnowledgeFile, readKnowledgeFile } from "./knowledge-files.ts";
import { ProgressDisplay } from "./progress-display.ts";

/** Files read and sent together; each is in memory until then. */
const BATCH_FILES = 16;
const BATCH_BYTES_MAX = 16 * 1_048_576;
const POLL_MS = 250;
/** Without any progress for this long there is no use in waiting here; the work goes on where a backend runs. */
const STALLED_MS = 60_000;
const LIST_LIMIT_DEFAULT = 50;

/** By name; the order is that of the help. */
export const KNOWLEDGE_COMMANDS: Readonly<Record<string, AdminCommand>> = {
  "knowledge ingest": {
    usage: "DIR --collection NAME",
    summary:
      "put the documents of a directory (text, Markdown, HTML, PDF) into a collection; unchanged ones are skipped",
    positionals: ["DIR"],
    options: ["collection"],
    required: ["collection"],
    run: (call, { collection = "" }, [directory = ""]) =>
      withIngestion(call, (ingestion, signal) => ingest({ call, ingestion, signal, collection }, directory)),
    failed: (result) => "problems" in result,
  },
  "knowledge list": {
    usage: "--collection NAME [--limit N] [--after ID]",
    summary: "the documents of a collection, by id",
    positionals: [],
    options: ["collection", "limit", "after"],
    required: ["collection"],
    run: (call, { collection = "", limit = String(LIST_LIMIT_DEFAULT), after = "" }) =>
      withIngestion(call, async (ingestion, signal) => {
        const page = { after, limit: readNumber("limit", limit, "default") ?? LIST_LIMIT_DEFAULT };
        const documents = await ingestion.list(collection, page, { actor: call.actor, signal });
        return {
          documents: documents.map(({ id, title, mediaType, state, chunksCount, sizeBytes, updatedAtMs }) => {
            const updatedAt = new Date(updatedAtMs).toISOString();
            return { id, title, mediaType, state, chunks: chunksCount, bytes: sizeBytes, updatedAt };
          }),
        };
      }),
  },
  "knowledge delete": {
    usage: "ID --collection NAME",
    summary: "delete a document and all of its chunks",
    positionals: ["ID"],
    options: ["collection"],
    required: ["collection"],
    run: (call, { collection = "" }, [id = ""]) =>
      withIngestion(call, async (ingestion, signal) => {
        const job = await ingestion.delete(collection, id, { actor: call.actor, signal });
        await follow({ call, ingestion, signal, collection }, [job]);
        return { id, status: "deleted" };
      }),
  },
  "knowledge drop": {
    usage: "NAME",
    summary: "delete a collection with all of its documents",
    positionals: ["NAME"],
    options: [],
    run: (call, _, [collection = ""]) =>
      withIngestion(call, async (ingestion, signal) => {
        const job = await ingestion.deleteCollection(collection, { actor: call.actor, signal });
        await follow({ call, ingestion, signal, collection }, [job]);
        return { collection, status: "deleted" };
      }),
  },
};

interface Work {
  readonly call: AdministrationCall;
  readonly ingestion: Ingestion;
  readonly signal: AbortSignal;
  readonly collection: string;
}

/**
 * Ingestion on the open database, with whoever does its steps: this process for the embedded one only. On any other the
 * backends do, for they know which index and which models there are; the environment here may say something else.
 */
async function withIngestion<Result>(
  { sql }: AdministrationCall,
  use: (ingestion: Ingestion, signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const config = readBackendConfig(process.env);
  const abort = new AbortController();
  if (!(sql instanceof PgliteSqlClient)) {
    const { ingestion, reader } = composeIngestion(config, sql, { wake: () => undefined, awaitMs: 0 });
    return use(ingestion, abort.signal).finally(() => reader.close());
  }
  const knowledge = composeKnowledge(config, sql, pino({ level: "silent" }), { awaitMs: 0 });
  knowledge.runner.start();
  return use(knowledge.ingestion, abort.signal).finally(() => knowledge.stop());
}

async function ingest(work: Work, directory: string): Promise<object> {
  const display = new ProgressDisplay(process.stderr, () => performance.now());
  try {
    return await ingestShown(work, directory, display);
  } catch (error) {
    throw interrupted(error);
  } finally {
    display.clear();
  }
}

async function ingestShown(work: Work, directory: string, display: ProgressDisplay): Promise<object> {
  const { files, leftOut } = await findKnowledgeFiles(directory);
  const leftOutCount = [...leftOut.values()].reduce((sum, count) => sum + count, 0);
  if (leftOutCount > 0) {
    const types = Array.from(
      leftOut,
      ([extension, count]) => `${count} ${extension || "without an extension"}`,
    );
    display.note(`left out, not text, Markdown, HTML or PDF by their extension: ${types.join(", ")}`);
  }
  const jobs: JobProgress[] = [];
  const problems: string[] = [];
  let unchanged = 0;
  const complain = (id: string, message: string) => {
    problems.push(`${id}: ${message}`);
    display.note(`${id}: ${message}`);
  };
  let readCount = 0;
  for await (const batch of batches(files, complain)) {
    const call = { actor: work.call.actor, signal: work.signal };
    const { outcomes, job } = await work.ingestion.putMany(work.collection, batch, call);
    for (const { id, status, error } of outcomes) {
      if (status === "unchanged") unchanged++;
      if (status === "refused") complain(id, error?.message ?? "refused");
    }
    if (job) jobs.push(job);
    readCount += batch.length;
    display.show(readCount, files.length, `read, ${batch.at(-1)?.id ?? ""}`);
  }
  const finished = await follow(work, jobs, display);
  for (const { documentId, message } of finished.flatMap(({ problems }) => problems))
    complain(documentId, message);
  const indexed = finished.reduce((sum, { done }) => sum + done, 0);
  const summary = {
    collection: work.collection,
    files: files.length,
    indexed,
    unchanged,
    leftOut: leftOutCount,
  };
  return problems.length > 0 ? { ...summary, problems } : summary;
}

/** Says of an outage what to do about it: what was taken is kept. */
function interrupted(error: unknown): unknown {
  if (!(error instanceof ParleyError) || !error.retryable) return error;
  const advice = "run the command again: what it has taken is indexed meanwhile, and skipped then";
  return error.with({ message: `${error.message}; ${advice}` });
}

/** Files that cannot be read are complained of and left out. */
async function* batches(
  files: readonly KnowledgeFile[],
  complain: (id: string, message: string) => void,
): AsyncGenerator<DocumentInput[]> {
  let batch: DocumentInput[] = [];
  let batchBytes = 0;
  for (const file of files) {
    const bytes = await readKnowledgeFile(file).catch((error: Error) => complain(file.id, error.message));
    if (!bytes) continue;
    if (batch.length >= BATCH_FILES || (batch.length > 0 && batchBytes + bytes.length > BATCH_BYTES_MAX)) {
      yield batch;
      batch = [];
      batchBytes = 0;
    }
    batch.push({ id: file.id, title: "", contentType: file.contentType, bytes, metadata: {} });
    batchBytes += bytes.length;
  }
  if (batch.length > 0) yield batch;
}

/** The jobs when they are finished. @throws ParleyError when nothing moves any more */
async function follow(
  { call, ingestion, signal, collection }: Work,
  jobs: readonly JobProgress[],
  display?: ProgressDisplay,
): Promise<JobProgress[]> {
  const total = jobs.reduce((sum, job) => sum + job.total, 0);
  let current = [...jobs];
  let lastDone = -1;
  let movedAtMs = performance.now();
  while (current.some(({ finishedAtMs }) => finishedAtMs === undefined)) {
    current = await Promise.all(
      current.map((job) =>
        job.finishedAtMs === undefined
          ? ingestion.getJob(collection, job.jobId, { actor: call.actor, signal })
          : job,
      ),
    );
    const done = current.reduce((sum, job) => sum + job.done + job.failed, 0);
    display?.show(done, total, "indexed");
    if (done !== lastDone) movedAtMs = performance.now();
    lastDone = done;
    if (performance.now() - movedAtMs > STALLED_MS) throw stalled(current);
    await sleep(POLL_MS, signal);
  }
  return current;
}

function stalled(jobs: readonly JobProgress[]): ParleyError {
  const problem = jobs.flatMap(({ problems }) => problems)[0];
  return new ParleyError(
    "unavailable",
    `indexing does not get on${problem ? `: ${problem.message}` : ""}; it is tried again while a backend runs`,
  );
}
