/** Holds what embedding providers send to the port's contract; knows their encodings, not their APIs. */
import { modelFailure } from "./model-failure.ts";
import { providerCause } from "./provider-cause.ts";

/** Longest vector that is taken; no model has a tenth of it. */
const DIMENSIONS_MAX = 65_536;

/**
 * The vectors as float32: arrays of numbers, or base64 of little-endian float32, whichever the provider sent,
 * asked for or not. Throws `garbled` unless there are `count` vectors, all of one length (`dimensions`, where
 * it is known already), every number finite.
 */
export function checkEmbeddings(vectors: unknown, count: number, dimensions?: number): Float32Array[] {
  if (!Array.isArray(vectors)) throw garbled("no list of vectors");
  if (vectors.length !== count) throw garbled(`${vectors.length} vectors for ${count} texts`);
  const checked = vectors.map(toFloat32);
  dimensions ??= checked[0]?.length;
  if (checked.some((vector) => vector.length !== dimensions)) throw garbled("vectors of different lengths");
  return checked;
}

function toFloat32(vector: unknown): Float32Array {
  const floats = typeof vector === "string" ? decode(vector) : fromNumbers(vector);
  if (floats.length === 0 || floats.length > DIMENSIONS_MAX)
    throw garbled(`a vector of ${floats.length} numbers`);
  if (!floats.every(Number.isFinite)) throw garbled("a number that is not finite");
  return floats;
}

function fromNumbers(vector: unknown): Float32Array {
  if (!Array.isArray(vector)) throw garbled("a vector that is neither numbers nor base64");
  // Float32Array.from would take null for 0 and "1" for 1.
  if (!vector.every((number) => typeof number === "number"))
    throw garbled("a vector with something else in it");
  return Float32Array.from(vector);
}

function decode(base64: string): Float32Array {
  const bytes = Buffer.from(base64, "base64");
  // Node decodes as far as it understands; only a text that survives the way back was understood whole.
  if (bytes.length % 4 !== 0 || bytes.toString("base64") !== base64) throw garbled("broken base64");
  const floats = new Float32Array(bytes.length / 4);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let index = 0; index < floats.length; index += 1) floats[index] = view.getFloat32(4 * index, true);
  return floats;
}

function garbled(what: string) {
  return modelFailure("garbled", { cause: providerCause(what) });
}
