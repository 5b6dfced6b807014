/** `npm run admin`: tenants, API keys, agents and records, for operators at the database. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { openAdminDatabase } from "./admin-database.ts";
import { runAdmin } from "./run-admin.ts";
import { readStartSettings } from "./start-settings.ts";

const projectDirectory = dirname(dirname(fileURLToPath(import.meta.url)));
const environmentFile = join(projectDirectory, ".env");
if (existsSync(environmentFile)) process.loadEnvFile(environmentFile);

process.exitCode = await runAdmin({
  arguments: process.argv.slice(2),
  openDatabase: async () => openAdminDatabase(readStartSettings(process.env, projectDirectory)),
  print: (text) => console.log(text),
  complain: (text) => console.error(text),
});
