/** The hash of API keys by Node's own synchronous digest: 2 µs in place of 60 to 140 µs by its Web Crypto. */
import { hash } from "node:crypto";
import type { HashSecret } from "../../core/auth/api-key.ts";

/** SHA-256 of a secret, lower-case hex. */
export const hashSecretWithNode: HashSecret = (secret) => hash("sha256", secret, "hex");
