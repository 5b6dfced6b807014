/**
 * `npm run deploy`: `wrangler deploy` with the arguments handed through. With `--dry-run` it needs no network, and
 * the built worker is held to its size budget.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { describeBundle, fitsBudget } from "./bundle-budget.ts";
import { findBundle, OFFLINE_ENVIRONMENT, wranglerCommand } from "./wrangler.ts";

const PROJECT_DIRECTORY = dirname(dirname(fileURLToPath(import.meta.url)));

/** @returns the exit code */
async function main(commandArguments: string[]): Promise<number> {
  const { values } = parseArgs({
    args: commandArguments,
    options: { "dry-run": { type: "boolean" }, outdir: { type: "string" } },
    strict: false,
  });
  if (!values["dry-run"]) return runWrangler(commandArguments, {});
  if (typeof values.outdir === "string") return dryRun(commandArguments, values.outdir);
  const outDirectory = mkdtempSync(join(tmpdir(), "parley-deploy-"));
  try {
    return await dryRun([...commandArguments, "--outdir", outDirectory], outDirectory);
  } finally {
    rmSync(outDirectory, { recursive: true, force: true });
  }
}

/** Builds, prints the size, and fails when it is over the budget. */
async function dryRun(commandArguments: readonly string[], outDirectory: string): Promise<number> {
  const code = await runWrangler(commandArguments, OFFLINE_ENVIRONMENT);
  if (code !== 0) return code;
  const bundle = findBundle(outDirectory);
  console.log(describeBundle(bundle));
  return fitsBudget(bundle) ? 0 : 1;
}

async function runWrangler(
  commandArguments: readonly string[],
  environment: NodeJS.ProcessEnv,
): Promise<number> {
  const [program = "", ...rest] = wranglerCommand(["deploy", ...commandArguments]);
  const wrangler = spawn(program, rest, {
    cwd: PROJECT_DIRECTORY,
    env: { ...process.env, ...environment },
    stdio: "inherit",
  });
  const [code] = await once(wrangler, "close");
  return code ?? 1;
}

process.exitCode = await main(process.argv.slice(2));
