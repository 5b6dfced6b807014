/** The order in which PGlite's files reach the disk, over a stand-in for Emscripten's file system. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it, vi } from "vitest";
import { DurableNodeFs } from "../../../backend/stores/durable-node-fs.ts";

const disk = vi.hoisted(() => ({ calls: [] as string[], failure: undefined as Error | undefined }));
vi.mock("node:fs", async (importOriginal) => ({
  ...(await importOriginal<typeof import("node:fs")>()),
  fsyncSync(file: number) {
    if (disk.failure) throw disk.failure;
    disk.calls.push(`sync ${file}`);
  },
}));

const LOG = { path: "/pglite/data/pg_wal/000000010000000000000001", nfd: 7 };
const TABLE = { path: "/pglite/data/base/5/16384", nfd: 8 };

describe("DurableNodeFs", () => {
  const folder = mkdtempSync(join(tmpdir(), "parley-node-fs-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  let files: DurableNodeFs;
  let module: ReturnType<typeof emscripten>;
  beforeEach(async () => {
    disk.calls = [];
    disk.failure = undefined;
    files = new DurableNodeFs(folder);
    const { emscriptenOpts } = await files.init({} as never, {});
    module = emscripten();
    // The one before is PGlite's own, which mounts the directory.
    const teach = emscriptenOpts.preRun?.at(-1) as unknown as (module: unknown) => void;
    teach(module);
  });

  /** Emscripten's operations, each of which only says that it ran. */
  function emscripten() {
    const noting = (name: string) => () => void disk.calls.push(name);
    const streams = { write: noting("write"), close: noting("close"), setattr: noting("truncate") };
    const nodes = { rename: noting("rename"), unlink: noting("unlink"), setattr: noting("truncate path") };
    return {
      NODEFS: {
        stream_ops: streams as Record<keyof typeof streams | "fsync", (...args: unknown[]) => unknown>,
        node_ops: nodes as Record<keyof typeof nodes, (...args: unknown[]) => unknown>,
      },
    };
  }

  it("leaves the log's own sync to its owner, and then syncs it once", () => {
    const { write, fsync } = module.NODEFS.stream_ops;
    write(LOG);
    fsync(LOG);
    fsync(LOG);
    expect(disk.calls).toEqual(["write"]);
    expect(files).toMatchObject({ logFlushes: 2, hasUnsyncedLog: true });
    files.syncLog();
    files.syncLog();
    expect(disk.calls).toEqual(["write", "sync 7"]);
    expect(files.hasUnsyncedLog).toBe(false);
  });

  it.each(["write", "close", "fsync", "setattr"] as const)(
    "syncs the log before %s of a file that it describes",
    (name) => {
      module.NODEFS.stream_ops.fsync(LOG);
      const stream = name === "close" ? LOG : TABLE;
      module.NODEFS.stream_ops[name](stream);
      expect(disk.calls[0]).toBe("sync 7");
      expect(disk.calls).toHaveLength(2);
      expect(files.hasUnsyncedLog).toBe(false);
    },
  );

  it.each(["rename", "unlink", "setattr"] as const)("syncs the log before %s of any path", (name) => {
    module.NODEFS.stream_ops.fsync(LOG);
    module.NODEFS.node_ops[name]();
    expect(disk.calls[0]).toBe("sync 7");
    expect(disk.calls).toHaveLength(2);
  });

  it("writes on to the log without a sync: what was flushed and what was not are one file", () => {
    module.NODEFS.stream_ops.fsync(LOG);
    module.NODEFS.stream_ops.write(LOG);
    expect(disk.calls).toEqual(["write"]);
  });

  it("writes nothing that the log describes when the log cannot be synced, and says so each time", () => {
    module.NODEFS.stream_ops.fsync(LOG);
    disk.failure = new Error("EIO");
    expect(() => module.NODEFS.stream_ops.write(TABLE)).toThrow("EIO");
    expect(() => files.syncLog()).toThrow("EIO");
    expect(disk.calls).toEqual([]);
    expect(files.hasUnsyncedLog).toBe(true);
  });

  it("refuses a runtime that hides its file system: its fsync would do nothing", async () => {
    const { emscriptenOpts } = await files.init({} as never, {});
    const teach = emscriptenOpts.preRun?.at(-1) as unknown as (module: unknown) => void;
    expect(() => teach({})).toThrow("fsync would do nothing");
  });
});
