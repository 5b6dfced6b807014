/** Reads a JWKS answer that may be anything: bounded in size, only keys that can verify a signature. */
import type { JWK } from "jose";

/** Real ones have some kilobytes. */
const BODY_BYTES_MAX = 262_144;
/** Issuers publish two or three. */
const KEYS_MAX = 32;
const PUBLIC_KEY_TYPES = ["RSA", "EC", "OKP"];

/**
 * The public keys in the answer, without those that are for something else than signatures.
 *
 * @throws Error when it is not a JWKS with at least one such key, or too large
 */
export async function readJwks(response: Response): Promise<JWK[]> {
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`the JWKS endpoint answered with status ${response.status}`);
  }
  const document: unknown = JSON.parse(await readText(response));
  const listed = isObject(document) ? document["keys"] : undefined;
  if (!Array.isArray(listed)) throw new Error("the JWKS endpoint answered with something that is no JWKS");
  if (listed.length > KEYS_MAX) throw new Error(`the JWKS has more than ${KEYS_MAX} keys`);
  const keys = listed.filter(isVerificationKey);
  if (keys.length === 0) throw new Error("the JWKS has no key that verifies signatures");
  return keys;
}

async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let text = "";
  let sizeBytes = 0;
  // Leaving the loop cancels the body.
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > BODY_BYTES_MAX) throw new Error(`the JWKS is larger than ${BODY_BYTES_MAX} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** A private key that is published is nobody's: it is left out with the rest that is unfit. */
function isVerificationKey(key: unknown): key is JWK {
  if (!isObject(key) || !PUBLIC_KEY_TYPES.includes(String(key["kty"])) || "d" in key) return false;
  if (key["use"] !== undefined && key["use"] !== "sig") return false;
  const operations = key["key_ops"];
  return operations === undefined || (Array.isArray(operations) && operations.includes("verify"));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
