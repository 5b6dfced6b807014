/** Builds the worker for this machine exactly as it is built for Cloudflare, without uploading anything. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { spawnGuarded } from "./guarded-process.ts";
import { WorkerCache } from "./worker-cache.ts";
import { findBundle, OFFLINE_ENVIRONMENT, type WorkerBundle, wranglerCommand } from "./wrangler.ts";

/** Where `--metafile` puts what the worker was built of, in the folder it is built to. */
const METAFILE = "bundle-meta.json";

/** What to build, and where to. */
export interface BuildOptions {
  /** The `wrangler.toml`. */
  readonly configFile: string;
  readonly directory: string;
  /** Emptied first. */
  readonly outDirectory: string;
  readonly environment: NodeJS.ProcessEnv;
  /** Ends the build. */
  readonly signal: AbortSignal;
}

/**
 * Builds the worker, or takes the one that was built of the same sources before. Throws an Error with wrangler's whole
 * output when that fails.
 */
export async function buildWorker(options: BuildOptions): Promise<WorkerBundle> {
  rmSync(options.outDirectory, { recursive: true, force: true });
  const cache = new WorkerCache(options.directory, options.configFile);
  if (cache.restore(options.outDirectory)) return findBundle(options.outDirectory);
  const wrangler = await spawnGuarded({
    command: wranglerCommand([
      ...["deploy", "--dry-run", "--config", options.configFile],
      ...["--outdir", options.outDirectory, "--metafile"],
    ]),
    directory: options.directory,
    environment: { ...options.environment, ...OFFLINE_ENVIRONMENT },
    orphanGraceSeconds: 1,
    channel: false,
  });
  options.signal.addEventListener("abort", wrangler.kill, { once: true });
  const { stdout, stderr } = wrangler.child;
  const output = Promise.all([stdout, stderr].map((stream) => (stream ? text(stream) : "")));
  const { code } = await wrangler.exited;
  options.signal.removeEventListener("abort", wrangler.kill);
  options.signal.throwIfAborted();
  if (code !== 0) throw new Error(`the worker could not be built:\n${(await output).join("\n")}`);
  const bundle = findBundle(options.outDirectory);
  cache.keep({ path: bundle.path, metafile: join(options.outDirectory, METAFILE) });
  return bundle;
}
