/** A backend as a process of its own, without edge and guard, to be killed and started again on the same port. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import type { ReadyMessage } from "../../backend/run-backend.ts";
import { withoutOwnVariables } from "./gateway.ts";

const PROJECT_DIRECTORY = fileURLToPath(new URL("../..", import.meta.url));
/** A provider that nobody listens at, so that a model on the machine does not answer in a test. */
const NO_OLLAMA = "http://127.0.0.1:9";

/** See above. */
export class BackendProcess {
  readonly #environment: Record<string, string>;
  #child: ChildProcess | undefined;
  #ready: ReadyMessage | undefined;

  private constructor(environment: Record<string, string>) {
    this.#environment = environment;
  }

  /** Starts one and waits until it serves. `environment` says where its data is, and what else is different. */
  static async start(environment: Record<string, string>): Promise<BackendProcess> {
    const port = String(await freePort());
    const backend = new BackendProcess({
      LOG_LEVEL: process.env["TEST_LOG_LEVEL"] ?? "silent",
      BACKEND_PORT: port,
      ...environment,
    });
    await backend.start();
    return backend;
  }

  /** Base URL of its port; the same after a restart. */
  get url(): string {
    return `http://127.0.0.1:${this.#environment["BACKEND_PORT"]}`;
  }

  /** What it said when it began to serve. */
  get ready(): ReadyMessage {
    if (!this.#ready) throw new Error("the backend has not said that it serves");
    return this.#ready;
  }

  /** Of its process; another one after each start. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Whether its process runs. */
  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Starts it again after {@link kill}. */
  async start(): Promise<void> {
    const child = spawn(process.execPath, ["backend/main.ts"], {
      cwd: PROJECT_DIRECTORY,
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      env: { ...withoutOwnVariables(process.env), OLLAMA_HOST: NO_OLLAMA, ...this.#environment },
    });
    this.#child = child;
    this.#ready = await new Promise<ReadyMessage>((resolve, reject) => {
      child.once("message", (message) => resolve(message as ReadyMessage));
      child.once("exit", (code) => reject(new Error(`the backend ended with ${code}`)));
    });
  }

  /** Sends a signal, such as SIGSTOP. */
  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Ends it at once (SIGKILL). */
  async kill(): Promise<void> {
    if (!this.#child || !this.isRunning) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }
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
