/** Ingestion on the embedded database. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe } from "vitest";
import { PgliteSqlClient } from "../../../backend/stores/pglite-sql-client.ts";
import { copyEmptyDatabase } from "../../support/database-template.ts";
import { ingestionContract } from "./ingestion.contract.ts";

describe("ingestion on PGlite", () => {
  const folder = mkdtempSync(join(tmpdir(), "parley-ingestion-"));
  ingestionContract(async () => {
    const dataDirectory = join(folder, "postgres");
    await copyEmptyDatabase(dataDirectory);
    return PgliteSqlClient.open({ dataDirectory, onEvent: () => undefined });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
});
