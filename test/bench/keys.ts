/** Many callers for the bench. */
import { generateApiKey, hashSecret } from "../../core/auth/api-key.ts";
import type { SqlClient } from "../../core/directory/sql-client.ts";

/** Puts keys of the default tenant into the database and returns their texts. */
export async function makeKeys(database: SqlClient, count: number): Promise<string[]> {
  const keys = Array.from({ length: count }, () => generateApiKey((bytes) => crypto.getRandomValues(bytes)));
  const hashes = await Promise.all(keys.map(({ secret }) => hashSecret(secret)));
  await database.query(
    `insert into api_keys (id, tenant_id, subject, scopes, secret_sha256, label)
     select id, 'default', 'bench', array['messages:send'], hash, 'bench' from unnest($1::text[], $2::text[]) as k (id, hash)`,
    [keys.map(({ keyId }) => keyId), hashes],
  );
  return keys.map(({ text }) => text);
}
