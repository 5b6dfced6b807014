/** A real Milvus for tests: Milvus Lite on a free port with a temporary directory. It ends with the process that started it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { requirement } from "./requirements.ts";

/** A running server. */
export interface TestMilvus {
  /** `127.0.0.1:port`. */
  readonly address: string;
  /** Dies at once (SIGKILL). */
  kill(): Promise<void>;
  /** Starts again on the same port and directory. */
  restart(): Promise<void>;
  /** Its process stands still: connections stay open and nothing answers. */
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

/** Python, faiss and gRPC take 5 s to load on two busy cores. */
const START_TIMEOUT_MS = 60_000;

/** Starts it; `requirement("milvus")` says whether it can be. */
export async function startMilvus(): Promise<TestMilvus> {
  const directory = mkdtempSync(join(tmpdir(), "parley-milvus-"));
  const port = await freePort();
  let server = await launch(directory, port);
  const killWithUs = () => server.kill("SIGKILL");
  process.once("exit", killWithUs);
  const kill = async () => {
    const exited = once(server, "exit");
    server.kill("SIGKILL");
    await exited;
  };
  return {
    address: `127.0.0.1:${port}`,
    kill,
    async restart() {
      server = await launch(directory, port);
    },
    pause: () => server.kill("SIGSTOP"),
    resume: () => server.kill("SIGCONT"),
    async stop() {
      process.off("exit", killWithUs);
      if (server.exitCode === null && server.signalCode === null) await kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function launch(directory: string, port: number): Promise<ChildProcess> {
  const server = spawn(
    requirement("milvus").path,
    ["server", "--data-dir", directory, "--host", "127.0.0.1", "--port", String(port)],
    {
      stdio: ["ignore", "pipe", "ignore"],
      // Or Python keeps what it says for later, when it does not write to a terminal.
      env: { ...process.env, PYTHONUNBUFFERED: "1" },
    },
  );
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      server.kill("SIGKILL");
      reject(new Error("Milvus Lite did not start in time"));
    }, START_TIMEOUT_MS);
    const onExit = (code: number | null) => reject(new Error(`Milvus Lite ended with ${code}`));
    server.once("exit", onExit);
    createInterface(server.stdout).on("line", (line) => {
      if (!line.includes("listening on")) return;
      clearTimeout(timer);
      server.off("exit", onExit);
      resolve(server);
    });
  });
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
