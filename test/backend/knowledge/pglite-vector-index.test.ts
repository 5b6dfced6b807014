/** The index in the embedded PostgreSQL. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PostgresVectorIndex } from "../../../backend/knowledge/postgres-vector-index.ts";
import { PgliteSqlClient } from "../../../backend/stores/pglite-sql-client.ts";
import { copyEmptyDatabase } from "../../support/database-template.ts";
import { metadataFilterContract } from "./metadata-filter.contract.ts";
import { vectorIndexContract } from "./vector-index.contract.ts";

const BOOT_TIMEOUT_MS = 120_000;
let folder = "";
let database: PgliteSqlClient;
let index: PostgresVectorIndex;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "parley-index-"));
  await copyEmptyDatabase(join(folder, "postgres"));
  database = await PgliteSqlClient.open({
    dataDirectory: join(folder, "postgres"),
    onEvent: (event) => {
      throw new Error(`unexpected: ${JSON.stringify(event)}`);
    },
  });
  index = new PostgresVectorIndex({
    database,
    now: () => performance.now(),
    onMissing: (what, cause) => {
      throw new Error(what, { cause });
    },
  });
}, BOOT_TIMEOUT_MS);

afterAll(async () => {
  await database?.close();
  rmSync(folder, { recursive: true, force: true });
}, BOOT_TIMEOUT_MS);

describe("PGlite as index", () => {
  vectorIndexContract(() => index);
  metadataFilterContract(() => index);

  it("has vectors and BM25", async () => {
    expect(await index.capabilities()).toEqual({ vectors: true, lexical: "bm25" });
  });
});
