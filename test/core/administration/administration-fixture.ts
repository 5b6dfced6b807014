/** A migrated database of its own for the tests of administration, and calls by whomever a test wants. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { neonEndpointAddress } from "../../../backend/stores/neon-endpoint.ts";
import { PgliteSqlClient } from "../../../backend/stores/pglite-sql-client.ts";
import type { Actor, AdministrationCall } from "../../../core/administration/actor.ts";
import { SCOPES } from "../../../core/auth/principal.ts";
import { NeonSqlClient } from "../../../edge/directory/neon-sql-client.ts";
import { copyEmptyDatabase } from "../../support/database-template.ts";

const password = "administration-password";

/** A database and what tests ask it. */
export interface AdministrationFixture {
  /** As the edge has it: Neon's driver, one statement per request. */
  readonly neon: NeonSqlClient;
  readonly pglite: PgliteSqlClient;
  /** A call by an actor of tenant `acme` with every scope, but for what is overridden. */
  as(actor?: Partial<Actor>): AdministrationCall;
  close(): Promise<void>;
}

/** Opens PGlite with the tenants `acme` and `umbrella`. */
export async function openAdministration(): Promise<AdministrationFixture> {
  const folder = mkdtempSync(join(tmpdir(), "parley-administration-"));
  await copyEmptyDatabase(join(folder, "postgres"));
  const pglite = await PgliteSqlClient.open({
    dataDirectory: join(folder, "postgres"),
    endpoint: { password, port: 0 },
    onEvent: () => undefined,
  });
  await pglite.query("INSERT INTO tenants (id, name) VALUES ('acme', 'Acme'), ('umbrella', 'Umbrella')", []);
  const neon = new NeonSqlClient(neonEndpointAddress(pglite.endpointPort ?? 0, password));
  return {
    neon,
    pglite,
    as: (actor = {}) => ({
      sql: neon,
      actor: {
        tenantId: "acme",
        subject: "alice",
        scopes: SCOPES,
        keyId: "alicekey0001",
        requestId: "request-1",
        address: "203.0.113.7",
        ...actor,
      },
    }),
    async close() {
      await pglite.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
