/** The whole product as a user starts it, `npm start`, on free ports and a directory of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { SqlClient } from "../../core/directory/sql-client.ts";
import { NeonSqlClient } from "../../edge/directory/neon-sql-client.ts";
import type { RunRecord } from "../../scripts/run-file.ts";
import { copyEmptyDatabase } from "./database-template.ts";

const PROJECT_DIRECTORY = fileURLToPath(new URL("../..", import.meta.url));
/** A provider that nobody listens at, so that a model on the machine does not answer in a test. */
const NO_OLLAMA = "http://127.0.0.1:9";

/** A log line of either program. */
export type LogLine = Record<string, unknown>;

/** A running gateway. */
export interface Gateway {
  /** Base URL of the edge. */
  readonly url: string;
  /** Base URL of the backend's port. */
  readonly backendUrl: string;
  /** The development key. */
  readonly key: string;
  readonly record: RunRecord;
  readonly dataDirectory: string;
  readonly process: ChildProcess;
  /** What a program has logged so far. */
  logs(program: "backend" | "edge"): LogLine[];
  /** The gateway's database, as the edge reads it. */
  readonly database: SqlClient;
  /** The text of a program's log. */
  logText(program: "backend" | "edge"): string;
  /** Ctrl-C, and the wait for the end. */
  stop(): Promise<number | null>;
  /** Removes the data directory; after the stop. */
  remove(): void;
}

/** What a test sets; the rest of the environment is what `npm start` itself would set. */
export interface GatewayOptions {
  environment?: Record<string, string>;
  /** An earlier gateway's, to start on its data; or an empty one, in which it makes its own database. */
  dataDirectory?: string;
  /** Default: `scripts/start.ts`. */
  startScript?: string;
}

/** Starts the gateway and waits until it serves. */
export async function startGateway({
  environment = {},
  dataDirectory,
  startScript = "scripts/start.ts",
}: GatewayOptions = {}): Promise<Gateway> {
  const directory = dataDirectory ?? mkdtempSync(join(tmpdir(), "parley-"));
  if (dataDirectory === undefined && environment["DATABASE_URL"] === undefined) {
    await copyEmptyDatabase(join(directory, "postgres"));
  }
  const child = spawn(process.execPath, [startScript, "--json"], {
    cwd: PROJECT_DIRECTORY,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...withoutOwnVariables(process.env),
      PORT: "0",
      BACKEND_PORT: "0",
      DATA_DIRECTORY: directory,
      OLLAMA_HOST: NO_OLLAMA,
      ...environment,
    },
  });
  const complaints: string[] = [];
  child.stderr.setEncoding("utf8").on("data", (text: string) => complaints.push(text));
  const record = await new Promise<RunRecord>((resolve, reject) => {
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (output.includes("\n")) resolve(JSON.parse(output.slice(0, output.indexOf("\n"))));
    });
    child.once("exit", (code) => reject(new Error(`npm start ended with ${code}:\n${complaints.join("")}`)));
  });
  const logText = (program: string) => readFileSync(join(directory, "logs", `${program}.log`), "utf8");
  return {
    url: record.url,
    backendUrl: record.backendUrl,
    key: readFileSync(record.developmentKeyFile, "utf8").trim(),
    record,
    dataDirectory: directory,
    process: child,
    database: openDatabase(directory),
    logText,
    logs: (program) => logText(program).split("\n").flatMap(parseLine),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
      const exited = once(child, "exit");
      child.kill("SIGINT");
      const [code] = await exited;
      return code;
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** The edge's own way to the database: its address and password stand in workerd's configuration. */
function openDatabase(dataDirectory: string): SqlClient {
  const config = readFileSync(join(dataDirectory, "edge.capnp"), "utf8");
  const variable = (name: string) => new RegExp(`name = "${name}", text = "([^"]*)"`).exec(config)?.[1] ?? "";
  return new NeonSqlClient({
    connectionString: variable("DATABASE_URL"),
    fetchEndpoint: variable("DATABASE_ENDPOINT"),
  });
}

/** What the shell of a developer may have set must not decide a test. */
export function withoutOwnVariables(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const own =
    /^(OPENAI_|OLLAMA_|EMBEDDING_|DATABASE_|BACKEND_|NEON_|UPSTASH_|REDIS_|MILVUS_|PORT$|HOST$|LOG_LEVEL$|DATA_DIRECTORY$)/;
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !own.test(name)));
}

function parseLine(line: string): LogLine[] {
  try {
    return [JSON.parse(line)];
  } catch {
    return [];
  }
}
