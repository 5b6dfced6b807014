/** Ingestion on a real PostgreSQL, over several connections. */
import { afterAll, describe } from "vitest";
import { PgSqlClient } from "../../../backend/stores/pg-sql-client.ts";
import { isPostgresAvailable, startPostgres, type TestPostgres } from "../../support/postgres.ts";
import { ingestionContract } from "./ingestion.contract.ts";

const STOP_LIMIT_MS = 60_000;

describe.skipIf(!isPostgresAvailable())("ingestion on PostgreSQL", () => {
  let server: TestPostgres | undefined;
  // First, so that it runs last: after the contract has closed the database.
  afterAll(() => server?.stop(), STOP_LIMIT_MS);
  ingestionContract(async () => {
    server = await startPostgres();
    const connectionString = await server.createDatabase();
    return new PgSqlClient({ connectionString, onIdleError: () => undefined });
  });
});
