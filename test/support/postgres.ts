/**
 * A real PostgreSQL for tests: the one that TEST_DATABASE_URL names, or one of its own on a free port in a
 * temporary directory. PostgreSQL refuses to run as root, so as root it is started as another user.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chownSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import pg from "pg";
import { requirement } from "./requirements.ts";

/** A server that tests may do anything to. */
export interface TestPostgres {
  /** Makes an empty database of its own and returns its URL. */
  createDatabase(): Promise<string>;
  /** Where the server listens: to be cut off and brought back. Undefined for a server that is not ours. */
  readonly port: number | undefined;
  /** Undefined for a server that is not ours. */
  readonly outage: TestOutage | undefined;
  /** Drops the databases made here; stops the server if it is ours. */
  stop(): Promise<void>;
}

/** Ways to take the server away from its clients, and to bring it back with all that it has committed. */
export interface TestOutage {
  /** Its processes stand still: connections stay open and nothing answers (SIGSTOP). */
  pause(): void;
  /** The end of the pause (SIGCONT). */
  resume(): void;
  /** Dies at once (SIGKILL). */
  kill(): Promise<void>;
  /** Starts again after a kill; resolves when it takes connections. */
  restart(): Promise<void>;
}

const START_TIMEOUT_MS = 60_000;

/** Whether there is a server to test with; noted as missing when there is not. */
export function isPostgresAvailable(): boolean {
  return Boolean(process.env["TEST_DATABASE_URL"]) || requirement("postgres").available;
}

/**
 * Starts a server, or uses the one that TEST_DATABASE_URL names. See {@link isPostgresAvailable}.
 *
 * @param options.fsync whether a commit waits for the disk, as in production; tests need no such patience
 * @param options.program which PostgreSQL; `pgvector` is one that has the extension
 */
export async function startPostgres({
  fsync = false,
  program = "postgres" as "postgres" | "pgvector",
} = {}): Promise<TestPostgres> {
  const given = program === "postgres" ? process.env["TEST_DATABASE_URL"] : undefined;
  if (given) return onServer(given, { port: undefined, outage: undefined, stop: async () => undefined });
  // initdb lies beside the real postgres; on the PATH there may be links to it.
  const binaries = dirname(requirement(program).path);
  const user = serverUser();
  const directory = mkdtempSync(join(tmpdir(), "parley-postgres-"));
  if (user) chownSync(directory, user.uid, user.gid);
  const data = join(directory, "data");
  const identity = user ? { uid: user.uid, gid: user.gid } : {};
  const environment = { PATH: process.env["PATH"] ?? "", LC_ALL: "C" };
  const initdb = spawnSync(
    join(binaries, "initdb"),
    ["-D", data, "-U", "parley", "--auth=trust", "--encoding=UTF8", "--no-sync"],
    { ...identity, cwd: directory, env: environment, encoding: "utf8" },
  );
  if (initdb.status !== 0) throw new Error(`initdb failed: ${initdb.stderr || initdb.error}`);

  const port = await freePort();
  const settings = {
    listen_addresses: "127.0.0.1",
    port,
    unix_socket_directories: "",
    fsync: fsync ? "on" : "off",
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const launch = async () => {
    const started = spawn(join(binaries, "postgres"), ["-D", data, ...flags], {
      ...identity,
      cwd: directory,
      env: environment,
      stdio: ["ignore", "ignore", "pipe"],
    });
    await untilReady(started);
    return started;
  };
  let server = await launch();
  const end = async (signal: NodeJS.Signals) => {
    const exited = once(server, "exit");
    server.kill(signal);
    await exited;
  };
  const killWithUs = () => server.kill("SIGKILL");
  process.once("exit", killWithUs);
  return onServer(`postgres://parley@127.0.0.1:${port}/postgres`, {
    port,
    outage: {
      pause: () => signalFamily(server.pid, "SIGSTOP"),
      resume: () => signalFamily(server.pid, "SIGCONT"),
      kill: () => end("SIGKILL"),
      restart: async () => {
        server = await launch();
      },
    },
    async stop() {
      process.off("exit", killWithUs);
      // The "fast" shutdown: sessions are ended, nothing is waited for.
      await end("SIGINT");
      rmSync(directory, { recursive: true, force: true });
    },
  });
}

/** To the server and to the processes of its sessions. */
function signalFamily(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) throw new Error("PostgreSQL does not run");
  process.kill(pid, signal);
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  for (const child of children.split(" ").filter((text) => text !== "")) process.kill(Number(child), signal);
}

function onServer(url: string, server: Pick<TestPostgres, "port" | "outage" | "stop">): TestPostgres {
  const names: string[] = [];
  const run = async (sql: string) => {
    const client = new pg.Client(url);
    await client.connect();
    await client.query(sql).finally(() => client.end());
  };
  return {
    port: server.port,
    outage: server.outage,
    async createDatabase() {
      const name = `parley_test_${randomBytes(6).toString("hex")}`;
      await run(`CREATE DATABASE ${name}`);
      names.push(name);
      const database = new URL(url);
      database.pathname = `/${name}`;
      return database.href;
    },
    async stop() {
      for (const name of names) await run(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
      await server.stop();
    },
  };
}

/** Whom the server runs as when we are root: `postgres` if there is one, else `nobody`. */
function serverUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  const user = users.find(([name]) => name === "postgres") ?? users.find(([name]) => name === "nobody") ?? [];
  return { uid: Number(user[2] ?? 65_534), gid: Number(user[3] ?? 65_534) };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (typeof address !== "object" || !address) throw new Error("no free port");
  return address.port;
}

/** Resolves when the server takes connections; goes on reading what it logs, lest the pipe fill up. */
function untilReady(server: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let log = "";
    const fail = (why: string) => {
      server.kill("SIGKILL");
      reject(new Error(`PostgreSQL did not start: ${why}\n${log}`));
    };
    const timer = setTimeout(() => fail("it took too long"), START_TIMEOUT_MS);
    const onExit = (code: number | null) => fail(`it ended with code ${code}`);
    server.once("exit", onExit);
    server.stderr?.setEncoding("utf8").on("data", (text: string) => {
      log = (log + text).slice(-10_000);
      if (!text.includes("ready to accept connections")) return;
      clearTimeout(timer);
      server.off("exit", onExit);
      resolve();
    });
  });
}
