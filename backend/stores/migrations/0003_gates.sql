-- Who may do how much, who changed what, and what each model call cost.

ALTER TABLE tenants
  ADD COLUMN limits jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN retention_days integer CHECK (retention_days BETWEEN 1 AND 36500),
  ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
COMMENT ON COLUMN tenants.limits IS
  'Limits of the tenant and defaults for its keys (core/limits/limits.ts); what is absent comes from the defaults.';
COMMENT ON COLUMN tenants.retention_days IS
  'Rows of messages and model_attempts older than this are deleted; null: they stay.';

ALTER TABLE api_keys
  ADD COLUMN limits jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN created_by text NOT NULL DEFAULT '',
  ADD COLUMN replaces text;
COMMENT ON COLUMN api_keys.limits IS
  'Limits of this key (core/limits/limits.ts); what is absent comes from the tenant, else from the defaults.';
COMMENT ON COLUMN api_keys.replaces IS
  'The key that this one was rotated from; both work until the older one expires.';

CREATE TABLE agent_versions (
  tenant_id text NOT NULL,
  id text NOT NULL,
  version integer NOT NULL,
  name text NOT NULL,
  description text NOT NULL,
  config jsonb NOT NULL,
  created_by text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id, version),
  FOREIGN KEY (tenant_id, id) REFERENCES agents (tenant_id, id)
);
COMMENT ON TABLE agent_versions IS
  'Every configuration that an agent has had, the current one included.';

CREATE TABLE audit_log (
  position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text NOT NULL,
  actor text NOT NULL,
  actor_key_id text NOT NULL DEFAULT '',
  action text NOT NULL,
  target_kind text NOT NULL,
  target_id text NOT NULL,
  details jsonb NOT NULL DEFAULT '{}',
  request_id text NOT NULL DEFAULT '',
  address text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE audit_log IS
  'Every administrative change: who, what, when, from where. Written in the same statement as the change; appended '
  'once and never changed. details has no secret.';
CREATE INDEX audit_log_tenant ON audit_log (tenant_id, position);

CREATE TABLE model_attempts (
  position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text NOT NULL,
  task_id text NOT NULL,
  attempt integer NOT NULL,
  agent_id text NOT NULL,
  model text NOT NULL,
  outcome text NOT NULL,
  duration_ms integer NOT NULL,
  first_token_ms integer,
  input_tokens integer,
  output_tokens integer,
  usage_estimated boolean,
  created_at timestamptz NOT NULL,
  UNIQUE (tenant_id, task_id, attempt)
);
COMMENT ON TABLE model_attempts IS
  'Every call of a model, also those that failed: outcome is "answered" or the reason. One row per task and attempt.';
CREATE INDEX model_attempts_created ON model_attempts (tenant_id, created_at);

ALTER TABLE messages
  ADD COLUMN key_id text,
  ADD COLUMN agent_version integer;
CREATE INDEX messages_created ON messages (tenant_id, created_at);
