-- The log by key and in the order of its rows.

ALTER TABLE model_attempts
  ADD COLUMN key_id text;
COMMENT ON COLUMN model_attempts.created_at IS
  'When the turn ended: the time of the reply that the attempts belong to.';
CREATE INDEX messages_tenant ON messages (tenant_id, position);
