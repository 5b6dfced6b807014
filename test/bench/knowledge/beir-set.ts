/**
 * Reads a retrieval benchmark in BEIR's format: `corpus.jsonl`, `queries.jsonl`, and `qrels.tsv` or, as BEIR's own
 * sets have it, `qrels/test.tsv`. Sees that they fit together.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { type MetadataFilter, metadataFilterSchema } from "../../../backend/knowledge/metadata-filter.ts";

/** Where BEIR's own sets have the grades that count, beside those for training. */
const TEST_PART = "qrels/test.tsv";
/** The first that is there. */
const QRELS = ["qrels.tsv", TEST_PART];

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
  const qrels = QRELS.map((name) => join(directory, name)).find((path) => existsSync(path));
  const files = ["corpus.jsonl", "queries.jsonl"].map((name) => join(directory, name));
  const missing = [...files.filter((path) => !existsSync(path)), ...(qrels ? [] : [QRELS.join(" or ")])];
  if (qrels === undefined || missing.length > 0) {
    throw new Error(`${directory} is not a BEIR set: it lacks ${missing.join(" and ")}`);
  }
  const [corpus = "", queries = ""] = files;
  const documents = readEntries(corpus, documentSchema);
  const asked = readEntries(queries, querySchema);
  const grades = readGrades(qrels, {
    documents: new Set(documents.map(({ _id }) => _id)),
    questions: new Set(asked.map(({ _id }) => _id)),
  });
  const questions = asked.map(({ _id, text, metadata }) => ({
    ...{ id: _id, text, ...metadata },
    grades: grades.get(_id) ?? new Map<string, number>(),
  }));
  const hasParts = qrels.endsWith(TEST_PART);
  return { documents, questions: questions.filter(({ grades: { size } }) => !hasParts || size > 0) };
}

function readEntries<Schema extends z.ZodType<{ readonly _id: string }>>(
  path: string,
  schema: Schema,
): z.output<Schema>[] {
  const seen = new Set<string>();
  return linesOf(path).map(({ text, place }) => {
    const parsed = schema.safeParse(parseJson(text, place));
    if (!parsed.success) throw new Error(`${place}: ${z.prettifyError(parsed.error)}`);
    if (seen.has(parsed.data._id)) throw new Error(`${place}: the _id ${parsed.data._id} is there twice`);
    seen.add(parsed.data._id);
    return parsed.data;
  });
}

function parseJson(text: string, place: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Error(`${place}: not JSON`, { cause });
  }
}

function readGrades(
  path: string,
  known: { readonly documents: ReadonlySet<string>; readonly questions: ReadonlySet<string> },
): Map<string, Map<string, number>> {
  const grades = new Map<string, Map<string, number>>();
  const [header, ...lines] = linesOf(path);
  // Without this, a file that has none would lose its first grade.
  if (!header || /\t-?\d+$/.test(header.text)) {
    throw new Error(`${path}:1: the first line must name the columns: query-id, corpus-id, score`);
  }
  for (const { text, place } of lines) {
    const [queryId = "", documentId = "", score = "", ...more] = text.split("\t");
    if (more.length > 0 || !/^-?\d+$/.test(score)) {
      throw new Error(
        `${place}: three columns, with tabs between: an id of a query, one of a document, a whole number`,
      );
    }
    if (!known.questions.has(queryId)) throw new Error(`${place}: there is no query ${queryId}`);
    if (!known.documents.has(documentId)) throw new Error(`${place}: there is no document ${documentId}`);
    const grade = Number(score);
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
