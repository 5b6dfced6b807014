/**
 * Knowledge in memory, found by words: Okapi BM25 (Robertson & Zaragoza, "The Probabilistic Relevance Framework:
 * BM25 and Beyond", 2009) over the passages of Markdown documents. Built once per collection; keeps nothing on disk.
 */
import type { Passage, PassageQuery, PassageRetriever } from "./passage-retriever.ts";
import { type MarkdownPassage, splitMarkdown } from "./split-markdown.ts";
import { isStopWord, tokenizeText } from "./tokenize-text.ts";

/** Passages of one collection: about 30 MB of text. A collection beyond it needs a store on disk. */
export const PASSAGES_MAX = 20_000;
/** Of a question, this much is read: a question is not a document, and the work grows with its terms. */
const QUERY_CHARACTERS_MAX = 4_000;

/** Term frequency saturation and length normalisation (section 3.4 recommends 1.2 to 2 and 0.5 to 0.8). */
const K1 = 1.2;
const B = 0.75;
/** A word in the title or a heading counts as often as this in the text (weighted fields, section 3.6). */
const HEADING_WEIGHT = 2;
/**
 * The least share of a question that a passage must cover to be an answer at all, each term weighed by its idf. A
 * term that no passage knows weighs most, so a question about something else is not answered by its common words. On
 * this project's documents, questions about them were covered to 0.37 or more, others mostly below 0.3.
 */
export const COVERAGE_MIN = 1 / 3;

/** A document of a collection. */
export interface KnowledgeDocument {
  /** Its id within the collection, e.g. `docs/architecture.md`. */
  readonly id: string;
  /** Markdown. */
  readonly text: string;
}

/** Where documents belong. */
export interface CollectionOwner {
  /** Undefined: every tenant may read it. A tenant's own collection hides a shared one of the same name. */
  readonly tenantId: string | undefined;
  readonly collection: string;
}

type IndexedPassage = MarkdownPassage & { readonly documentId: string };

/** How often a term stands in a passage, heading words weighted. */
interface Posting {
  readonly passage: number;
  readonly frequency: number;
}

/** A passage on its way to being an answer. */
interface Match {
  score: number;
  /** Sum of the idf of the terms it has. */
  covered: number;
}

/** A PassageRetriever over documents that are given to it. */
export class MemoryPassageIndex implements PassageRetriever {
  readonly #shared = new Map<string, CollectionIndex>();
  readonly #byTenant = new Map<string, Map<string, CollectionIndex>>();

  /** Makes these documents the whole collection. Throws RangeError beyond {@link PASSAGES_MAX}. */
  replaceCollection(owner: CollectionOwner, documents: readonly KnowledgeDocument[]): void {
    const index = new CollectionIndex(documents.flatMap(splitDocument));
    if (owner.tenantId === undefined) {
      this.#shared.set(owner.collection, index);
    } else {
      const collections = this.#byTenant.get(owner.tenantId) ?? new Map<string, CollectionIndex>();
      this.#byTenant.set(owner.tenantId, collections.set(owner.collection, index));
    }
  }

  async retrieve(query: PassageQuery, signal: AbortSignal): Promise<readonly Passage[]> {
    signal.throwIfAborted();
    const own = this.#byTenant.get(query.tenantId)?.get(query.collection);
    const index = own ?? this.#shared.get(query.collection);
    return index?.search(query.query, query.passagesMax) ?? [];
  }
}

function splitDocument({ id, text }: KnowledgeDocument): IndexedPassage[] {
  const fileName = id.slice(id.lastIndexOf("/") + 1);
  return splitMarkdown(text, fileName).map((passage) => ({ ...passage, documentId: id }));
}

/** The inverted index of one collection. */
class CollectionIndex {
  readonly #passages: readonly IndexedPassage[];
  readonly #postings = new Map<string, Posting[]>();
  /** Terms in each passage, heading words weighted. */
  readonly #lengths: number[] = [];
  readonly #averageLength: number;

  constructor(passages: readonly IndexedPassage[]) {
    if (passages.length > PASSAGES_MAX) {
      throw new RangeError(`a collection in memory holds at most ${PASSAGES_MAX} passages`);
    }
    this.#passages = passages;
    for (const [number, passage] of passages.entries()) this.#add(number, passage);
    this.#averageLength = this.#lengths.reduce((sum, length) => sum + length, 0) / passages.length;
  }

  #add(number: number, { title, headings, text }: IndexedPassage): void {
    const frequencies = new Map<string, number>();
    const count = (terms: string[], weight: number) => {
      for (const term of terms) frequencies.set(term, (frequencies.get(term) ?? 0) + weight);
      return terms.length * weight;
    };
    const headingLength = count(tokenizeText([title, ...headings].join("\n")), HEADING_WEIGHT);
    this.#lengths.push(headingLength + count(tokenizeText(text), 1));
    for (const [term, frequency] of frequencies) {
      const postings = this.#postings.get(term);
      if (postings) postings.push({ passage: number, frequency });
      else this.#postings.set(term, [{ passage: number, frequency }]);
    }
  }

  search(question: string, passagesMax: number): Passage[] {
    const terms = new Set(tokenizeText(question.slice(0, QUERY_CHARACTERS_MAX)));
    const matches = new Map<number, Match>();
    let total = 0;
    for (const term of terms) {
      if (isStopWord(term)) continue;
      const postings = this.#postings.get(term) ?? [];
      const idf = this.#idf(postings.length);
      total += idf;
      for (const posting of postings) this.#score(matches, posting, idf);
    }
    return [...matches]
      .filter(([, { covered }]) => covered >= COVERAGE_MIN * total)
      .sort(([a, { score: scoreA }], [b, { score: scoreB }]) => scoreB - scoreA || a - b)
      .slice(0, passagesMax)
      .flatMap(([number, { score }]) => {
        const passage = this.#passages[number];
        return passage ? [{ ...passage, score }] : [];
      });
  }

  #score(matches: Map<number, Match>, { passage, frequency }: Posting, idf: number): void {
    const length = (this.#lengths[passage] ?? 0) / this.#averageLength;
    const saturated = (frequency * (K1 + 1)) / (frequency + K1 * (1 - B + B * length));
    const match = matches.get(passage) ?? { score: 0, covered: 0 };
    match.score += idf * saturated;
    match.covered += idf;
    matches.set(passage, match);
  }

  /** Robertson and Spärck Jones (section 3.1), plus one inside the logarithm to keep common terms above zero. */
  #idf(passagesWithTerm: number): number {
    return Math.log(1 + (this.#passages.length - passagesWithTerm + 0.5) / (passagesWithTerm + 0.5));
  }
}
