/**
 * The whole gateway on this machine: builds the worker, runs backend and edge, records the run, and ends everything
 * that it started. One per data directory.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { BackendProgram, backendGraceMs } from "./backend-program.ts";
import { buildWorker } from "./build-worker.ts";
import { EdgeProgram, edgeVariables } from "./edge-program.ts";
import { requireFreePort } from "./free-port.ts";
import type { GuardedProcess } from "./guarded-process.ts";
import { hostAndPort, localUrl } from "./local-url.ts";
import { ProgramOutput } from "./program-output.ts";
import { describeProcess, type ProcessRecord, RunFile, type RunRecord } from "./run-file.ts";
import type { StartSettings } from "./start-settings.ts";
import { type ProgramFailedError, type SupervisedProgram, Supervisor } from "./supervisor.ts";
import { readCompatibility, readDurableObjects, type WorkerBundle } from "./wrangler.ts";

/** When the backend has ended, the edge has only to pass on what came; on a busy machine that takes a while. */
const EDGE_GRACE_MS = 5_000;

/** The programs, and where they work. */
export interface GatewayParts {
  readonly projectDirectory: string;
  /** The backend's entry, relative to the project. */
  readonly backendEntry: string;
  /** The worker's `wrangler.toml`, relative to the project. */
  readonly wranglerFile: string;
}

/** A gateway that is being started, runs, or is being stopped. */
export class LocalGateway {
  readonly #settings: StartSettings;
  readonly #parts: GatewayParts;
  readonly #report: (line: string) => void;
  readonly #supervisors: Supervisor[] = [];
  readonly #outputs: ProgramOutput[] = [];
  readonly #children = new Map<string, ProcessRecord>();
  readonly #stopping = new AbortController();
  readonly #failed = Promise.withResolvers<ProgramFailedError>();
  #starting: Promise<RunRecord> | undefined;
  #runFile: RunFile | undefined;
  #record: RunRecord;

  /** @param report prints a line for the user */
  constructor(settings: StartSettings, parts: GatewayParts, report: (line: string) => void) {
    this.#settings = settings;
    this.#parts = parts;
    this.#report = report;
    this.#record = {
      state: "starting",
      process: describeProcess("start", process.pid),
      children: [],
      url: localUrl(settings.host, settings.port),
      backendUrl: localUrl(settings.backendHost, settings.backendPort),
      developmentKeyFile: settings.developmentKeyFile,
    };
  }

  /** Resolves when a program of it could not be kept running. */
  get failed(): Promise<ProgramFailedError> {
    return this.#failed.promise;
  }

  /** Starts everything; resolves with the record of the run when it serves. On failure, `stop` cleans up. */
  start(): Promise<RunRecord> {
    this.#starting = this.#start();
    return this.#starting;
  }

  async #start(): Promise<RunRecord> {
    const { dataDirectory } = this.#settings;
    mkdirSync(join(dataDirectory, "logs"), { recursive: true, mode: 0o700 });
    this.#runFile = await RunFile.claim({
      path: join(dataDirectory, "run.json"),
      record: this.#record,
      leftOverGraceMs: backendGraceMs(this.#settings),
      onLeftOver: ({ name, pid }) => this.#report(`ending the ${name} of an earlier run (pid ${pid})`),
    });
    this.#stopping.signal.throwIfAborted();
    const port = await this.#requireFreePorts();
    const backend = new BackendProgram({
      entry: join(this.#parts.projectDirectory, this.#parts.backendEntry),
      directory: this.#parts.projectDirectory,
      // Where the edge will be reached, which 0 does not say.
      settings: { ...this.#settings, port },
      output: this.#openOutput("backend"),
    });
    const [worker] = await Promise.all([this.#buildWorker(), this.#run(backend)]);
    this.#write({ url: localUrl(this.#settings.host, port), backendUrl: backend.address.address });
    await this.#run(this.#createEdge(worker, backend, port));
    this.#write({ state: "ready" });
    return this.#record;
  }

  /** Ends everything in order: no new requests, running turns finish, then the programs end. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const graceMs = backendGraceMs(this.#settings);
    const [backend, edge] = this.#supervisors;
    const edgeStopped = edge?.stop(graceMs);
    await backend?.stop(graceMs);
    const timer = setTimeout(() => edge?.kill(), EDGE_GRACE_MS);
    await edgeStopped;
    clearTimeout(timer);
    // A start that was interrupted comes to its end now; until then it may still write the run file.
    await this.#starting?.catch(() => undefined);
    for (const output of this.#outputs) output.close();
    this.#runFile?.release();
  }

  /** Ends everything at once; the run file stays, for the next start to look after what could not be ended. */
  kill(): void {
    this.#stopping.abort();
    for (const supervisor of this.#supervisors) supervisor.kill();
  }

  async #requireFreePorts(): Promise<number> {
    const { host, port, backendHost, backendPort } = this.#settings;
    if (backendPort !== 0) {
      await requireFreePort({ host: backendHost, port: backendPort, variable: "BACKEND_PORT" });
    }
    return requireFreePort({ host, port, variable: "PORT" });
  }

  #buildWorker(): Promise<WorkerBundle> {
    const { projectDirectory, wranglerFile } = this.#parts;
    return buildWorker({
      configFile: join(projectDirectory, wranglerFile),
      directory: projectDirectory,
      outDirectory: join(this.#settings.dataDirectory, "worker"),
      environment: this.#settings.environment,
      signal: this.#stopping.signal,
    });
  }

  #createEdge(worker: WorkerBundle, backend: BackendProgram, port: number): EdgeProgram {
    const { projectDirectory, wranglerFile } = this.#parts;
    const wranglerToml = readFileSync(join(projectDirectory, wranglerFile), "utf8");
    const storageDirectory = join(this.#settings.dataDirectory, "edge-storage");
    mkdirSync(storageDirectory, { recursive: true, mode: 0o700 });
    return new EdgeProgram({
      worker: {
        modulePath: worker.path,
        ...readCompatibility(wranglerToml),
        durableObjects: readDurableObjects(wranglerToml),
        storageDirectory,
        variables: edgeVariables(this.#settings, backend.address),
        address: hostAndPort(this.#settings.host, port),
      },
      configFile: join(this.#settings.dataDirectory, "edge.capnp"),
      url: this.#record.url,
      environment: this.#settings.environment,
      output: this.#openOutput("edge"),
    });
  }

  #openOutput(program: string): ProgramOutput {
    const path = join(this.#settings.dataDirectory, "logs", `${program}.log`);
    const output = new ProgramOutput(program, path, this.#report);
    this.#outputs.push(output);
    return output;
  }

  async #run(program: SupervisedProgram): Promise<void> {
    const supervisor = new Supervisor(program, {
      report: this.#report,
      onLaunch: (process) => this.#recordChild(program.name, process),
    });
    this.#stopping.signal.throwIfAborted();
    this.#supervisors.push(supervisor);
    void supervisor.givenUp.then(this.#failed.resolve);
    await supervisor.start();
  }

  #recordChild(name: string, { pid }: GuardedProcess): void {
    this.#children.set(name, describeProcess(name, pid));
    this.#write({ children: [...this.#children.values()] });
  }

  #write(changes: Partial<RunRecord>): void {
    this.#record = { ...this.#record, ...changes };
    this.#runFile?.write(this.#record);
  }
}
