/** `npm start` with the backend of backend-without-log.ts. */
import { fileURLToPath } from "node:url";
import { runStart } from "../../../scripts/run-start.ts";

process.exitCode = await runStart({
  parts: {
    projectDirectory: fileURLToPath(new URL("../../..", import.meta.url)),
    backendEntry: "test/bench/gates/backend-without-log.ts",
    wranglerFile: "wrangler.toml",
  },
  json: true,
});
