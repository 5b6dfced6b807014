/** Embeds a list of texts of any length in calls of bounded size, one after the other, and checks each. */
import { checkEmbeddings } from "./check-embeddings.ts";

/** How much one call carries. */
export interface BatchLimits {
  readonly textsMax: number;
  /** In all texts together; a longer single text goes alone, for the provider to judge. */
  readonly charactersMax: number;
}

/**
 * @param embedBatch one call: the vectors of these texts in their order, unchecked
 * @returns a checked vector for each text, in order
 */
export async function embedInBatches(
  texts: readonly string[],
  limits: BatchLimits,
  embedBatch: (batch: readonly string[]) => Promise<unknown>,
): Promise<Float32Array[]> {
  const vectors: Float32Array[] = [];
  for (const batch of batches(texts, limits)) {
    vectors.push(...checkEmbeddings(await embedBatch(batch), batch.length, vectors[0]?.length));
  }
  return vectors;
}

function* batches(
  texts: readonly string[],
  { textsMax, charactersMax }: BatchLimits,
): Generator<readonly string[]> {
  let batch: string[] = [];
  let characters = 0;
  for (const text of texts) {
    if (batch.length > 0 && (batch.length >= textsMax || characters + text.length > charactersMax)) {
      yield batch;
      batch = [];
      characters = 0;
    }
    batch.push(text);
    characters += text.length;
  }
  if (batch.length > 0) yield batch;
}
