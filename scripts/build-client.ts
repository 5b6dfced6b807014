/** `npm run build:client`: the client library as a package of its own in `dist/client/`, for `npm pack` and `npm publish`. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const PROJECT_DIRECTORY = dirname(dirname(fileURLToPath(import.meta.url)));
const outDirectory = resolve(process.argv[2] ?? join(PROJECT_DIRECTORY, "dist/client"));

rmSync(outDirectory, { recursive: true, force: true });
mkdirSync(outDirectory, { recursive: true });
const compiler = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
execFileSync(process.execPath, [compiler, "-p", "tsconfig.client.json", "--outDir", outDirectory], {
  cwd: PROJECT_DIRECTORY,
  stdio: "inherit",
});
copyFileSync(join(PROJECT_DIRECTORY, "edge/client/package.json"), join(outDirectory, "package.json"));
copyFileSync(join(PROJECT_DIRECTORY, "docs/client.md"), join(outDirectory, "README.md"));
