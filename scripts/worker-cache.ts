/**
 * A worker that was built before, for as long as nothing that it was built of has changed: building takes wrangler
 * seconds, comparing milliseconds. Kept below `node_modules/.cache`; whatever is wrong with it, the worker is built.
 */
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

/** What esbuild's metafile says: the part that is needed. Paths are relative to the `wrangler.toml`. */
interface Metafile {
  readonly inputs: { readonly [path: string]: unknown };
}

/** What is written of a worker. */
interface Manifest {
  /** The module's file name where it was built. */
  readonly name: string;
  /** In the cache; its source map is beside it, with `.map` appended. */
  readonly file: string;
  /** SHA-256 by absolute path. */
  readonly inputs: { readonly [path: string]: string };
}

/** The cache of one `wrangler.toml` of a project. */
export class WorkerCache {
  readonly #configFile: string;
  readonly #directory: string;
  readonly #lockfile: string;
  readonly #manifestFile: string;

  /** @param projectDirectory whose `node_modules` and `package-lock.json` are in use */
  constructor(projectDirectory: string, configFile: string) {
    this.#configFile = resolve(projectDirectory, configFile);
    this.#directory = join(projectDirectory, "node_modules", ".cache", "parley");
    this.#lockfile = join(projectDirectory, "package-lock.json");
    const config = readFileSync(this.#configFile);
    // A test's own configuration lies elsewhere each time, and says the same.
    this.#manifestFile = join(this.#directory, `worker-${hashOf(config).slice(0, 16)}.json`);
  }

  /** Puts the worker into the folder, as if it had been built there; false when it has to be. */
  restore(outDirectory: string): boolean {
    try {
      const { name, file, inputs } = this.#readManifest();
      const isSame = ([path, hash]: [string, string]) => hashOf(readFileSync(path)) === hash;
      if (!Object.entries(inputs).every(isSame)) return false;
      mkdirSync(outDirectory, { recursive: true });
      const kept = join(this.#directory, file);
      copyFileSync(`${kept}.map`, join(outDirectory, `${name}.map`));
      copyFileSync(kept, join(outDirectory, name));
      return true;
    } catch {
      return false;
    }
  }

  /** Keeps what was built, in place of what there was. Never throws. */
  keep({ path, metafile }: { path: string; metafile: string }): void {
    try {
      const { inputs }: Metafile = JSON.parse(readFileSync(metafile, "utf8"));
      const base = dirname(this.#configFile);
      const sources = [this.#lockfile, ...Object.keys(inputs).map((input) => resolve(base, input))];
      const file = `worker-${hashOf(readFileSync(path)).slice(0, 16)}.js`;
      const manifest: Manifest = {
        name: path.slice(dirname(path).length + 1),
        file,
        inputs: Object.fromEntries(sources.map((source) => [source, hashOf(readFileSync(source))])),
      };
      mkdirSync(this.#directory, { recursive: true });
      const before = this.#earlierFile();
      this.#write(`${file}.map`, readFileSync(`${path}.map`));
      this.#write(file, readFileSync(path));
      this.#write(this.#manifestFile.slice(this.#directory.length + 1), JSON.stringify(manifest));
      if (before === undefined || before === file) return;
      for (const old of [before, `${before}.map`]) rmSync(join(this.#directory, old), { force: true });
    } catch {
      // It is built again the next time.
    }
  }

  #readManifest(): Manifest {
    return JSON.parse(readFileSync(this.#manifestFile, "utf8"));
  }

  #earlierFile(): string | undefined {
    try {
      return this.#readManifest().file;
    } catch {
      return undefined;
    }
  }

  /** Whole or not at all, whoever else writes it. */
  #write(name: string, content: string | Buffer): void {
    const unfinished = join(this.#directory, `${name}.${process.pid}`);
    writeFileSync(unfinished, content);
    renameSync(unfinished, join(this.#directory, name));
  }
}

function hashOf(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
