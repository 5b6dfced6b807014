/** The port to embedding models. */

/**
 * Turns texts into vectors.
 *
 * Contract of `embed`: as many vectors as texts, in their order; all of the same length, every number finite,
 * none empty. Anything else a provider sends throws ParleyError with reason `garbled`. An empty list of texts
 * gives an empty list without a call. Texts longer than the model takes are refused (`context-window`), never
 * cut silently.
 */
export interface EmbeddingModel {
  /** `provider/model`. */
  readonly id: string;
  embed(texts: readonly string[], signal: AbortSignal): Promise<Float32Array[]>;
}
