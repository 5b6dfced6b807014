/**
 * `npm run dev`: the backend as `npm start` runs it, and the edge in `wrangler dev`, which builds it again at every
 * change. For working on the edge, not for measuring: wrangler's proxy serves a few hundred requests a second.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BackendProgram, backendGraceMs } from "./backend-program.ts";
import { edgeVariables } from "./edge-program.ts";
import { ProgramOutput } from "./program-output.ts";
import { readStartSettings } from "./start-settings.ts";
import { Supervisor } from "./supervisor.ts";
import { OFFLINE_ENVIRONMENT, wranglerCommand } from "./wrangler.ts";

const projectDirectory = dirname(dirname(fileURLToPath(import.meta.url)));
const environmentFile = join(projectDirectory, ".env");
if (existsSync(environmentFile)) process.loadEnvFile(environmentFile);
const settings = readStartSettings(process.env, projectDirectory);
mkdirSync(join(settings.dataDirectory, "logs"), { recursive: true, mode: 0o700 });

const report = (line: string) => console.error(line);
const backend = new BackendProgram({
  entry: join(projectDirectory, "backend/main.ts"),
  directory: projectDirectory,
  settings,
  output: new ProgramOutput("backend", join(settings.dataDirectory, "logs", "backend.log"), report),
});
const supervisor = new Supervisor(backend, { report, onLaunch: () => undefined });
await supervisor.start();

// Wrangler takes secrets from a file, not from its arguments, which every process on the machine can see.
const variablesFile = join(settings.dataDirectory, "dev.env");
const SECRETS = ["BACKEND_TOKEN_SECRET", "DATABASE_URL", "JWT_SHARED_SECRET", "UPSTASH_REDIS_REST_TOKEN"];
const variables = Object.entries(edgeVariables(settings, backend.address));
const secrets = variables.filter(([name]) => SECRETS.includes(name));
const plain = variables.filter(([name]) => !SECRETS.includes(name));
const lines = secrets.map(([name, value]) => `${name}='${value}'\n`);
writeFileSync(variablesFile, lines.join(""), { mode: 0o600 });
console.log(`development key: ${settings.developmentKeyFile}`);

const [program = "", ...programArguments] = wranglerCommand([
  "dev",
  ...["--ip", settings.host, "--port", String(settings.port), "--inspector-port", "0"],
  ...plain.flatMap(([name, value]) => ["--var", `${name}:${value}`]),
  ...["--env-file", variablesFile, "--persist-to", join(settings.dataDirectory, "dev")],
]);
const wrangler = spawn(program, programArguments, {
  cwd: projectDirectory,
  stdio: "inherit",
  env: { ...process.env, ...OFFLINE_ENVIRONMENT },
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, () => wrangler.kill(signal));
const [code] = await once(wrangler, "exit");
await supervisor.stop(backendGraceMs(settings));
process.exit(code ?? 0);
