/** The columns `revision` and `revised_at` of the table `knowledge_collections`. */
import type { SqlClient } from "../../core/directory/sql-client.ts";
import type { CollectionRevisions } from "../knowledge/collection-revisions.ts";
import { SHARED_TENANT_ID } from "../knowledge/vector-index.ts";

/** Milvus gives, unless told to wait, what was there up to 5 s ago. */
const SETTLING_SECONDS = 6;

/** The tenant's own before the shared one, as search takes them. */
const CURRENT = `
  SELECT tenant_id, active_generation, revision::text AS revision,
         revised_at < now() - ${SETTLING_SECONDS} * interval '1 second' AS settled
    FROM knowledge_collections
   WHERE tenant_id IN ($1, $3) AND name = $2 AND deleted_at IS NULL
   ORDER BY (tenant_id = $1) DESC LIMIT 1`;

const CHANGED = `
  UPDATE knowledge_collections SET revision = nextval('knowledge_revisions'), revised_at = now()
   WHERE tenant_id = $1 AND name = $2`;

interface RevisionRow {
  tenant_id: string;
  active_generation: number;
  revision: string;
  settled: boolean;
}

/** {@link CollectionRevisions} in PostgreSQL. */
export class SqlCollectionRevisions implements CollectionRevisions {
  readonly #client: SqlClient;

  constructor(client: SqlClient) {
    this.#client = client;
  }

  async current(tenantId: string, collection: string, signal?: AbortSignal): Promise<string | undefined> {
    const params = [tenantId, collection, SHARED_TENANT_ID];
    const [row] = await this.#client.query<RevisionRow>(CURRENT, params, signal);
    if (!row) return "none";
    return row.settled ? `${row.tenant_id} ${row.active_generation} ${row.revision}` : undefined;
  }

  async changed(tenantId: string, collection: string, signal?: AbortSignal): Promise<void> {
    await this.#client.query(CHANGED, [tenantId, collection], signal);
  }
}
