/** Wrangler as this project calls it: the installed one, offline, and what it leaves of a dry run. */
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import type { DurableObjectBinding } from "./workerd-config.ts";

/** Keeps wrangler from asking the network for anything that a dry run does not need. */
export const OFFLINE_ENVIRONMENT = {
  WRANGLER_SEND_METRICS: "false",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
} as const;

/** A built worker: one ES module. */
export interface WorkerBundle {
  readonly path: string;
  readonly bytes: number;
  /** Its size as Cloudflare counts it, compressed with gzip. */
  readonly gzipBytes: number;
}

/** The command that runs wrangler under this Node, without the shell and the PATH. */
export function wranglerCommand(commandArguments: readonly string[]): string[] {
  const packageFile = createRequire(import.meta.url).resolve("wrangler/package.json");
  return [process.execPath, join(dirname(packageFile), "bin", "wrangler.js"), ...commandArguments];
}

/** The module in the folder given to `wrangler deploy --dry-run --outdir`. Throws when there is not exactly one. */
export function findBundle(outDirectory: string): WorkerBundle {
  const modules = readdirSync(outDirectory).filter((name) => name.endsWith(".js"));
  const [name] = modules;
  if (name === undefined || modules.length > 1) {
    throw new Error(`expected one module in ${outDirectory}, found ${modules.length}`);
  }
  const path = join(outDirectory, name);
  const content = readFileSync(path);
  return { path, bytes: content.byteLength, gzipBytes: gzipSync(content).byteLength };
}

/** What the worker is built for, as its `wrangler.toml` says. */
export interface WorkerCompatibility {
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
}

/** Reads the two settings of a `wrangler.toml` that workerd must have too. Throws when there is no date. */
export function readCompatibility(wranglerToml: string): WorkerCompatibility {
  const date = /^compatibility_date\s*=\s*"([^"]+)"/m.exec(wranglerToml)?.[1];
  if (!date) throw new Error("wrangler.toml has no compatibility_date");
  const flags = /^compatibility_flags\s*=\s*\[([^\]]*)\]/m.exec(wranglerToml)?.[1] ?? "";
  return {
    compatibilityDate: date,
    compatibilityFlags: [...flags.matchAll(/"([^"]+)"/g)].map(([, flag]) => flag ?? ""),
  };
}

/** Reads the bindings of Durable Objects of a `wrangler.toml`, each a table with `name` before `class_name`. */
export function readDurableObjects(wranglerToml: string): DurableObjectBinding[] {
  const tables = wranglerToml.matchAll(
    /^\[\[durable_objects\.bindings\]\]\nname\s*=\s*"([^"]+)"\nclass_name\s*=\s*"([^"]+)"/gm,
  );
  return [...tables].map(([, name = "", className = ""]) => ({ name, className }));
}
