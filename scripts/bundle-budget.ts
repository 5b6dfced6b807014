/** The budget that the built worker is held to, and how its size is told. */
import type { WorkerBundle } from "./wrangler.ts";

/** Cloudflare's own limit is 3 MB on its free plan; a small worker starts fast on a cold isolate. */
export const BUNDLE_GZIP_BYTES_MAX = 300 * 1024;

/** Whether the bundle may be deployed as far as its size goes. */
export function fitsBudget({ gzipBytes }: Pick<WorkerBundle, "gzipBytes">): boolean {
  return gzipBytes <= BUNDLE_GZIP_BYTES_MAX;
}

/** One line: raw size, compressed size, budget, verdict. */
export function describeBundle(bundle: Pick<WorkerBundle, "bytes" | "gzipBytes">): string {
  const sizes = `worker bundle: ${kibibytes(bundle.bytes)}, ${kibibytes(bundle.gzipBytes)} gzip`;
  const verdict = fitsBudget(bundle) ? "within" : "OVER";
  return `${sizes}, ${verdict} the budget of ${kibibytes(BUNDLE_GZIP_BYTES_MAX)} gzip`;
}

function kibibytes(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}
