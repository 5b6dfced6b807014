/** A real Redis for tests, on a free port, in memory only; it ends with the process that started it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { requirement } from "./requirements.ts";

/** A running server. */
export interface TestRedis {
  readonly url: string;
  /** To be stopped and continued with signals. */
  readonly process: ChildProcess;
  stop(): Promise<void>;
}

/** Where it listens. */
export interface RedisOptions {
  /** Of a server that was stopped and comes back; default: a free one. */
  readonly port?: number;
}

const START_TIMEOUT_MS = 10_000;

/** Starts it; `requirement("redis")` says whether it can be. */
export async function startRedis(options: RedisOptions = {}): Promise<TestRedis> {
  const port = options.port ?? (await freePort());
  const server = spawn(
    requirement("redis").path,
    ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
    // Debian's is one program with several names; the real path that was found is not the server's.
    { argv0: "redis-server", stdio: ["ignore", "pipe", "inherit"] },
  );
  const killWithUs = () => server.kill("SIGKILL");
  process.once("exit", killWithUs);
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("redis-server did not start")), START_TIMEOUT_MS);
    createInterface(server.stdout).on("line", (line) => {
      if (!line.includes("Ready to accept connections")) return;
      clearTimeout(timer);
      resolve();
    });
    server.once("exit", (code) => reject(new Error(`redis-server ended with ${code}`)));
  });
  return {
    url: `redis://127.0.0.1:${port}`,
    process: server,
    async stop() {
      process.off("exit", killWithUs);
      if (server.exitCode !== null || server.signalCode !== null) return;
      const exited = once(server, "exit");
      // Also ends a server that a test has stopped.
      server.kill("SIGKILL");
      await exited;
    },
  };
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
