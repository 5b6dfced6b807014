/** `npm start`: the gateway on this machine, with nothing but Node. `--json` is for programs that start it. */
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { runStart } from "./run-start.ts";

process.exitCode = await runStart({
  parts: {
    projectDirectory: dirname(dirname(fileURLToPath(import.meta.url))),
    backendEntry: "backend/main.ts",
    wranglerFile: "wrangler.toml",
  },
  json: process.argv.includes("--json"),
});
