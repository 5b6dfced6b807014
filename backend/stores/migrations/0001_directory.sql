-- Who may call, and whom: tenants, their API keys, their agents.

CREATE TABLE tenants (
  id text PRIMARY KEY,
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE tenants IS
  'Customers of this deployment. Every other row belongs to exactly one.';

CREATE TABLE api_keys (
  id text PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenants (id),
  subject text NOT NULL,
  scopes text[] NOT NULL DEFAULT '{}',
  secret_sha256 text NOT NULL CHECK (secret_sha256 ~ '^[0-9a-f]{64}$'),
  label text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz,
  revoked_at timestamptz
);
COMMENT ON TABLE api_keys IS
  'API keys, parley_<id>_<secret>: of the secret only its SHA-256. Revoked keys stay, for the record.';
CREATE INDEX api_keys_tenant_id ON api_keys (tenant_id);

CREATE TABLE agents (
  tenant_id text NOT NULL REFERENCES tenants (id),
  id text NOT NULL,
  name text NOT NULL,
  description text NOT NULL DEFAULT '',
  version integer NOT NULL DEFAULT 1 CHECK (version >= 1),
  config jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz,
  PRIMARY KEY (tenant_id, id)
);
COMMENT ON TABLE agents IS
  'Agents, by receiver_id. config is validated by the programs that read it (core/directory/agent.ts). '
  'A deleted agent keeps its row: its id is not given to another, and seeding does not bring it back.';
