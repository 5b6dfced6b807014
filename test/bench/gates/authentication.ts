/** Authentication alone, as the edge does it for a key that it knows: with Web Crypto, from the directory's cache. */
import { AttemptGuard } from "../../../core/auth/attempt-guard.ts";
import { createCredentialVerifier } from "../../../core/auth/verify-credential.ts";
import { CachedDirectory } from "../../../core/directory/cached-directory.ts";
import { MemoryDirectory } from "../../edge/support/memory-directory.ts";
import { quantile } from "../load.ts";

const CALLS = 20_000;
const WARM_UP_CALLS = 5_000;

/** @returns the median, in milliseconds */
export async function measureAuthentication(): Promise<number> {
  const directory = new MemoryDirectory();
  const key = await directory.addKey();
  const verify = createCredentialVerifier({
    directory: new CachedDirectory(directory, { now: () => performance.now(), coalesce: true }),
    verifyJwt: undefined,
    attempts: new AttemptGuard(() => performance.now()),
    now: Date.now,
  });
  const presented = { authorization: `Bearer ${key}`, address: "192.0.2.1" };
  const times: number[] = [];
  for (let call = 0; call < WARM_UP_CALLS + CALLS; call++) {
    const startedAt = performance.now();
    const { ok } = await verify(presented);
    if (!ok) throw new Error("the bench's own key was refused");
    if (call >= WARM_UP_CALLS) times.push(performance.now() - startedAt);
  }
  return quantile(times, 0.5);
}
