/**
 * Chunks in any number for measuring speed: vectors around the centres of Gaussian clusters, as real embeddings crowd
 * by topic, and words whose frequencies fall as those of a language do. What they say means nothing.
 */
import { chunkId, type EmbeddedChunk, hashContent } from "../../../backend/knowledge/chunk.ts";
import { seededGaussian, seededRandom } from "./random.ts";

/** Numbers of a vector. */
export const DIMENSION = 384;
const CLUSTERS = 1_000;
/** Standard deviation around a centre; the centres' own is 1. */
const SPREAD = 0.5;
const WORDS = 20_000;
/** Zipf and Mandelbrot's offset: the commonest words of a language are stop words, which are not searched for. */
const WORD_OFFSET = 20;
const WORDS_PER_CHUNK = 80;
const WORDS_PER_QUESTION = 6;
const SYLLABLES = "ba de fi go ku la me ni po ru sa te vi wo zu cha dre flo".split(" ");

/** What is searched for, in both ways. */
export interface Question {
  readonly embedding: Float32Array;
  readonly query: string;
}

/** Makes chunks and questions; the same seed makes the same. */
export class ScaleData {
  readonly #random: () => number;
  readonly #gaussian: () => number;
  readonly #centres: readonly Float32Array[];
  readonly #words: readonly { readonly word: string; readonly upTo: number }[];

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.#gaussian = seededGaussian(this.#random);
    this.#centres = Array.from({ length: CLUSTERS }, () =>
      Float32Array.from({ length: DIMENSION }, this.#gaussian),
    );
    this.#words = vocabulary();
  }

  /** A document of so many chunks. */
  document(id: string, chunksCount: number): EmbeddedChunk[] {
    return Array.from({ length: chunksCount }, (_, ordinal) => {
      const text = this.#text(WORDS_PER_CHUNK);
      const contentHash = hashContent(text);
      return {
        chunkId: chunkId(id, contentHash, ordinal),
        documentId: id,
        ...{ ordinal, title: id, headings: [], text, contentHash },
        ...{ startOffset: 0, endOffset: text.length, metadata: {} },
        embedding: this.#vector(),
      };
    });
  }

  /** A question near some cluster, and of words that have nothing to do with it. */
  question(): Question {
    return { embedding: this.#vector(), query: this.#text(WORDS_PER_QUESTION) };
  }

  #vector(): Float32Array {
    const centre = this.#centres[Math.floor(this.#random() * CLUSTERS)] ?? [];
    const vector = Float32Array.from(centre, (number) => number + SPREAD * this.#gaussian());
    const norm = Math.hypot(...vector);
    return vector.map((number) => number / norm);
  }

  #text(length: number): string {
    return Array.from({ length }, () => this.#word()).join(" ");
  }

  #word(): string {
    const wanted = this.#random() * (this.#words.at(-1)?.upTo ?? 0);
    let [low, high] = [0, this.#words.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#words[middle]?.upTo ?? 0) < wanted) low = middle + 1;
      else high = middle;
    }
    return this.#words[low]?.word ?? "";
  }
}

/** Words with the running sums of their frequencies. */
function vocabulary(): { word: string; upTo: number }[] {
  let upTo = 0;
  return Array.from({ length: WORDS }, (_, rank) => {
    upTo += 1 / (rank + WORD_OFFSET);
    return { word: wordOf(rank), upTo };
  });
}

/** The rank in a number system of syllables. */
function wordOf(rank: number): string {
  let word = "";
  for (let rest = rank + SYLLABLES.length; rest > 0; rest = Math.floor(rest / SYLLABLES.length)) {
    word += SYLLABLES[rest % SYLLABLES.length];
  }
  return word;
}
