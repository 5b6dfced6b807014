/**
 * The terms that lexical search compares, the same in every engine: ours are stored beside the text, and the engines
 * only part them at spaces. So identifiers and scripts without spaces are found everywhere alike.
 */
import type { Chunk } from "./chunk.ts";
import { isStopWord, tokenizeText } from "./tokenize-text.ts";

/** Of a question, this much is read: a question is not a document, and the work grows with its terms. */
const QUERY_CHARACTERS_MAX = 4_000;
/** Terms of a question that are searched for, the first ones. */
const QUERY_TERMS_MAX = 64;
/** Of a chunk, this much is read: twice what ingestion makes. */
const CHUNK_CHARACTERS_MAX = 20_000;
/** Longest term; what is longer is data (base64, a hash), not a name. */
const TERM_CHARACTERS_MAX = 64;

/** Runs of letters and digits joined by what names are joined by: `hnsw.ef_search`, `ERR-4711`, `docs/storage.md`. */
const COMPOUND = /[\p{L}\p{N}]+(?:[_./:@-][\p{L}\p{N}]+)+/gu;
const NOT_WORD = /[^\p{L}\p{N}]+/gu;

/**
 * The terms of a chunk, separated by spaces, repetitions included. What stands in the title or a heading counts
 * twice (weighted fields; Robertson & Zaragoza 2009, section 3.6).
 */
export function chunkTerms({ title, headings, text }: Pick<Chunk, "title" | "headings" | "text">): string {
  const path = searchTerms([title, ...headings].join("\n"));
  return [...path, ...path, ...searchTerms(text.slice(0, CHUNK_CHARACTERS_MAX))].join(" ");
}

/** The terms of a question, each once, without stop words. */
export function queryTerms(question: string): string[] {
  return [...new Set(searchTerms(question.slice(0, QUERY_CHARACTERS_MAX)))].slice(0, QUERY_TERMS_MAX);
}

/** Words without stop words, and names of several words also as one: `ERR-4711` is err, 4711 and err4711. */
function searchTerms(text: string): string[] {
  const words = tokenizeText(text).filter((term) => !isStopWord(term));
  const compounds = text.normalize("NFKC").toLowerCase().match(COMPOUND) ?? [];
  return [...words, ...compounds.map(join).filter((term) => term.length <= TERM_CHARACTERS_MAX)];
}

function join(compound: string): string {
  return compound.replace(NOT_WORD, "");
}
