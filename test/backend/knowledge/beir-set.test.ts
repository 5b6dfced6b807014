/** Reading a BEIR set: ours, and one laid out as BEIR's own are, with what can be wrong in it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readBeirSet } from "../../bench/knowledge/beir-set.ts";
import { OWN_DATA } from "../../bench/knowledge/knowledge-bench.ts";

/** As in the archives that BEIR's authors publish (of SciFact, shortened). */
const CORPUS = `{"_id": "4983", "title": "Microstructural development", "text": "Alterations of the \\"architecture\\" …", "metadata": {}}
{"_id": "5836", "title": "", "text": "Myelodysplastic syndromes (MDS) …", "metadata": {"year": 2016}}
`;
const QUERIES = `{"_id": "0", "text": "0-dimensional biomaterials lack inductive properties.", "metadata": {}}
{"_id": "1", "text": "1 in 5 million", "metadata": {"4983": [{"sentences": [5], "label": "CONTRADICT"}]}}
{"_id": "2", "text": "A question of the training part", "metadata": {}}
`;
const TEST = "query-id\tcorpus-id\tscore\n0\t4983\t2\n1\t5836\t1\n1\t4983\t0\n";
const TRAIN = "query-id\tcorpus-id\tscore\n2\t5836\t1\n";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "parley-beir-"));
  write({
    "corpus.jsonl": CORPUS,
    "queries.jsonl": QUERIES,
    "qrels/test.tsv": TEST,
    "qrels/train.tsv": TRAIN,
  });
});

afterEach(() => rmSync(directory, { recursive: true }));

function write(files: Readonly<Record<string, string>>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), content);
  }
}

describe("a BEIR set", () => {
  it("is read as BEIR's own are laid out, with the questions of its test part", () => {
    const { documents, questions } = readBeirSet(directory);
    expect(documents.map(({ _id, title, metadata }) => [_id, title, metadata])).toEqual([
      ["4983", "Microstructural development", {}],
      ["5836", "", { year: 2016 }],
    ]);
    expect(documents[0]?.text).toBe('Alterations of the "architecture" …');
    expect(questions.map(({ id, class: name, filter }) => [id, name, filter])).toEqual([
      ["0", "all", []],
      ["1", "all", []],
    ]);
    expect(questions.map(({ grades }) => [...grades])).toEqual([[["4983", 2]], [["5836", 1]]]);
  });

  it("is read with the line ends of Windows, empty lines, and grades below zero, which count as none", () => {
    write({
      "corpus.jsonl": CORPUS.replaceAll("\n", "\r\n"),
      "queries.jsonl": `\n${QUERIES}\n\n`,
      "qrels/test.tsv": "query-id\tcorpus-id\tscore\r\n0\t4983\t1\r\n0\t5836\t-1\r\n",
    });
    const { documents, questions } = readBeirSet(directory);
    expect(documents).toHaveLength(2);
    expect(questions.map(({ id, grades }) => [id, [...grades]])).toEqual([["0", [["4983", 1]]]]);
  });

  it("keeps questions that nothing answers where one qrels.tsv grades them all, as ours does", () => {
    write({ "qrels.tsv": TEST });
    expect(readBeirSet(directory).questions.map(({ id, grades }) => [id, grades.size])).toEqual([
      ["0", 1],
      ["1", 1],
      ["2", 0],
    ]);
    const own = readBeirSet(OWN_DATA);
    expect(own.documents.length).toBeGreaterThanOrEqual(200);
    expect(own.questions.filter(({ class: name }) => name === "unanswerable").length).toBeGreaterThan(0);
  });

  it.each(["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])("says that %s is missing", (name) => {
    rmSync(join(directory, name));
    expect(() => readBeirSet(directory)).toThrow(
      new RegExp(`^${directory} is not a BEIR set: it lacks .*${name}$`),
    );
  });

  it.each<[what: string, file: string, content: string, message: string]>([
    ["a line that is no JSON", "corpus.jsonl", `${CORPUS}{"_id": "7", "te`, "corpus.jsonl:3: not JSON"],
    ["a document without text", "corpus.jsonl", '{"_id": "7"}', "corpus.jsonl:1: .*expected string.*text"],
    ["a number as id", "queries.jsonl", '{"_id": 1, "text": "x"}', "queries.jsonl:1: .*expected string.*_id"],
    [
      "an id that is there twice",
      "corpus.jsonl",
      CORPUS + CORPUS,
      "corpus.jsonl:3: the _id 4983 is there twice",
    ],
    ["an empty file of grades", "qrels/test.tsv", "", "test.tsv:1: the first line must name the columns"],
    ["grades without a header", "qrels/test.tsv", "0\t4983\t2\n", "test.tsv:1: the first line must name"],
    ["TREC's four columns", "qrels/test.tsv", `${TEST}0\t0\t4983\t1`, "test.tsv:5: three columns"],
    ["spaces for tabs", "qrels/test.tsv", `${TEST}0 4983 1`, "test.tsv:5: three columns"],
    ["a grade of half a point", "qrels/test.tsv", `${TEST}0\t4983\t0.5`, "test.tsv:5: three columns"],
    ["no grade", "qrels/test.tsv", `${TEST}0\t4983\t`, "test.tsv:5: three columns"],
    ["a query that is not there", "qrels/test.tsv", `${TEST}9\t4983\t1`, "test.tsv:5: there is no query 9"],
    [
      "a document that is not there",
      "qrels/test.tsv",
      `${TEST}0\t9\t1`,
      "test.tsv:5: there is no document 9",
    ],
  ])("names file and line of %s", (_, file, content, message) => {
    write({ [file]: content });
    expect(() => readBeirSet(directory)).toThrow(new RegExp(message, "s"));
  });
});
