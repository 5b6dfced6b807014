/** The table `knowledge_collections`: one row a collection, each change one statement. */
import type { SqlClient, SqlParam } from "../../core/directory/sql-client.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { Collection, CollectionStore, GenerationSpec } from "../knowledge/collection-store.ts";

const COLUMNS = `
  tenant_id, name, active_generation, active_model, active_dimension,
  building_generation, building_model, building_dimension`;

const SELECT_ONE = `
  SELECT ${COLUMNS} FROM knowledge_collections WHERE tenant_id = $1 AND name = $2 AND deleted_at IS NULL`;

const SELECT_PAGE = `
  SELECT ${COLUMNS} FROM knowledge_collections
   WHERE tenant_id = $1 AND name COLLATE "C" > $2 AND deleted_at IS NULL
   ORDER BY name COLLATE "C" LIMIT $3`;

/** A collection that is there already is left as it is, but its row is returned; a deleted one begins anew. */
const ENSURE = `
  INSERT INTO knowledge_collections AS c (tenant_id, name, active_model, active_dimension)
  VALUES ($1, $2, $3, $4)
  ON CONFLICT (tenant_id, name) DO UPDATE SET
    generations = c.generations + (c.deleted_at IS NOT NULL)::int,
    active_generation = CASE WHEN c.deleted_at IS NULL THEN c.active_generation ELSE c.generations + 1 END,
    active_model = CASE WHEN c.deleted_at IS NULL THEN c.active_model ELSE excluded.active_model END,
    active_dimension = CASE WHEN c.deleted_at IS NULL THEN c.active_dimension ELSE excluded.active_dimension END,
    building_generation = CASE WHEN c.deleted_at IS NULL THEN c.building_generation END,
    building_model = CASE WHEN c.deleted_at IS NULL THEN c.building_model END,
    building_dimension = CASE WHEN c.deleted_at IS NULL THEN c.building_dimension END,
    created_at = CASE WHEN c.deleted_at IS NULL THEN c.created_at ELSE now() END,
    updated_at = CASE WHEN c.deleted_at IS NULL THEN c.updated_at ELSE now() END,
    deleted_at = NULL
  RETURNING ${COLUMNS}`;

const BEGIN_GENERATION = `
  UPDATE knowledge_collections SET
    generations = generations + (NOT (building_model, building_dimension) IS NOT DISTINCT FROM ($3, $4::int))::int,
    building_generation = CASE
      WHEN (building_model, building_dimension) IS NOT DISTINCT FROM ($3, $4::int) THEN building_generation
      ELSE generations + 1 END,
    building_model = $3,
    building_dimension = $4,
    updated_at = now()
  WHERE tenant_id = $1 AND name = $2 AND deleted_at IS NULL
  RETURNING ${COLUMNS}`;

const ACTIVATE = `
  UPDATE knowledge_collections SET
    active_generation = building_generation, active_model = building_model, active_dimension = building_dimension,
    building_generation = NULL, building_model = NULL, building_dimension = NULL,
    updated_at = now()
  WHERE tenant_id = $1 AND name = $2 AND building_generation = $3::int AND deleted_at IS NULL
  RETURNING ${COLUMNS}`;

const DELETE = `
  UPDATE knowledge_collections SET
    deleted_at = now(), building_generation = NULL, building_model = NULL, building_dimension = NULL
  WHERE tenant_id = $1 AND name = $2 AND deleted_at IS NULL`;

interface CollectionRow {
  tenant_id: string;
  name: string;
  active_generation: number;
  active_model: string;
  active_dimension: number;
  building_generation: number | null;
  building_model: string | null;
  building_dimension: number | null;
}

/** {@link CollectionStore} in PostgreSQL. */
export class SqlCollectionStore implements CollectionStore {
  readonly #client: SqlClient;

  constructor(client: SqlClient) {
    this.#client = client;
  }

  find(tenantId: string, name: string, signal?: AbortSignal): Promise<Collection | undefined> {
    return this.#queryOne(SELECT_ONE, [tenantId, name], signal);
  }

  async list(
    tenantId: string,
    page: { limit: number; after?: string | undefined },
    signal?: AbortSignal,
  ): Promise<Collection[]> {
    const rows = await this.#client.query<CollectionRow>(
      SELECT_PAGE,
      [tenantId, page.after ?? "", page.limit],
      signal,
    );
    return rows.map(toCollection);
  }

  ensure(tenantId: string, name: string, spec: GenerationSpec, signal?: AbortSignal): Promise<Collection> {
    return this.#withGeneration(ENSURE, { tenantId, name, spec }, signal);
  }

  beginGeneration(
    tenantId: string,
    name: string,
    spec: GenerationSpec,
    signal?: AbortSignal,
  ): Promise<Collection> {
    return this.#withGeneration(BEGIN_GENERATION, { tenantId, name, spec }, signal);
  }

  async activateGeneration(
    tenantId: string,
    name: string,
    generation: number,
    signal?: AbortSignal,
  ): Promise<Collection> {
    const activated = await this.#queryOne(ACTIVATE, [tenantId, name, generation], signal);
    const collection = activated ?? (await this.find(tenantId, name, signal));
    if (collection?.active.generation === generation) return collection;
    throw new ParleyError(
      "conflict",
      `generation ${generation} of the collection "${name}" is not being built`,
    );
  }

  async delete(tenantId: string, name: string, signal?: AbortSignal): Promise<void> {
    await this.#client.query(DELETE, [tenantId, name], signal);
  }

  /** Runs a statement that gives a collection a generation, and returns the collection. */
  async #withGeneration(
    statement: string,
    { tenantId, name, spec }: { tenantId: string; name: string; spec: GenerationSpec },
    signal: AbortSignal | undefined,
  ): Promise<Collection> {
    const params = [tenantId, name, spec.embeddingModel, spec.dimension];
    return found(await this.#queryOne(statement, params, signal), name);
  }

  async #queryOne(
    text: string,
    params: readonly SqlParam[],
    signal: AbortSignal | undefined,
  ): Promise<Collection | undefined> {
    const [row] = await this.#client.query<CollectionRow>(text, params, signal);
    return row && toCollection(row);
  }
}

function found(collection: Collection | undefined, name: string): Collection {
  if (!collection) throw new ParleyError("not_found", `there is no collection "${name}"`);
  return collection;
}

function toCollection(row: CollectionRow): Collection {
  const { building_generation, building_model, building_dimension } = row;
  return {
    tenantId: row.tenant_id,
    name: row.name,
    active: {
      generation: row.active_generation,
      embeddingModel: row.active_model,
      dimension: row.active_dimension,
    },
    building:
      building_generation === null || building_model === null || building_dimension === null
        ? undefined
        : { generation: building_generation, embeddingModel: building_model, dimension: building_dimension },
  };
}
