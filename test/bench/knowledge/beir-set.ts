/**
 * Reads a retrieval benchmark in BEIR's format: `corpus.jsonl`, `queries.jsonl`, and `qrels.tsv` or, as BEIR's own
 * sets have it, `qrels/test.tsv`. Sees that they fit together.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { type MetadataFilter, metadataFilterSchema } from "../../../backend/knowledge/metadata-filter.ts";

const documentSchema = z.object({
  _id: z.string().min(1),
  title: z.string().default(""),
  text: z.string(),
  metadata: z.record(z.string(), z.unknown()).default({}),
});
const querySchema = z.object({
  _id: z.string().min(1),
  text: z.string().min(1),
  metadata: z
    .object({ class: z.string().default("all"), filter: metadataFilterSchema.default([]) })
    .prefault({}),
});

/** A document of the corpus. */
export type BeirDocument = z.output<typeof documentSchema>;

/** A question with what answers it. */
export interface BeirQuestion {
  readonly id: string;
  readonly text: string;
  /** `all` where the set has no classes. */
  readonly class: string;
  readonly filter: MetadataFilter;
  /** Ids of documents with their grades, 1 and more; empty: the corpus does not answer it. */
  readonly grades: ReadonlyMap<string, number>;
}

/** A benchmark. */
export interface BeirSet {
  readonly documents: readonly BeirDocument[];
  readonly questions: readonly BeirQuestion[];
}

/**
 * @throws Error that names the file and the line of what does not fit. Of a set with `qrels/test.tsv`, questions
 *   without grades are those of its other parts, and left out.
 */
export function readBeirSet(directory: string): BeirSet {
  const documents = readLines(join(directory, "corpus.jsonl"), documentSchema);
  const ownQrels = join(directory, "qrels.tsv");
  const hasParts = !existsSync(ownQrels);
  const grades = readGrades(
    hasParts ? join(directory, "qrels/test.tsv") : ownQrels,
    new Set(documents.map(({ _id }) => _id)),
  );
  const questions = readLines(join(directory, "queries.jsonl"), querySchema).map(
    ({ _id, text, metadata }) => ({ id: _id, text, ...metadata, grades: grades.get(_id) ?? new Map() }),
  );
  const known = new Set(questions.map(({ id }) => id));
  for (const id of grades.keys()) if (!known.has(id)) throw new Error(`qrels grade an unknown query ${id}`);
  return { documents, questions: questions.filter((question) => !hasParts || question.grades.size > 0) };
}

function readLines<Schema extends z.ZodType>(path: string, schema: Schema): z.output<Schema>[] {
  return linesOf(path).map(({ text, place }) => {
    try {
      return schema.parse(JSON.parse(text));
    } catch (cause) {
      throw new Error(`${place} is not what BEIR's format asks for`, { cause });
    }
  });
}

function readGrades(path: string, documentIds: ReadonlySet<string>): Map<string, Map<string, number>> {
  const grades = new Map<string, Map<string, number>>();
  for (const { text, place } of linesOf(path).slice(1)) {
    const [queryId = "", documentId = "", score] = text.split("\t");
    const grade = Number(score);
    if (!Number.isInteger(grade)) throw new Error(`${place}: the score must be a whole number`);
    if (!documentIds.has(documentId)) throw new Error(`${place}: no document ${documentId} in the corpus`);
    if (grade > 0) grades.set(queryId, (grades.get(queryId) ?? new Map()).set(documentId, grade));
  }
  return grades;
}

function linesOf(path: string): { text: string; place: string }[] {
  return readFileSync(path, "utf8")
    .split(/\r?\n/)
    .map((text, at) => ({ text, place: `${path}:${at + 1}` }))
    .filter(({ text }) => text.trim() !== "");
}
