-- A key is rotated once: two rotations at the same moment meet here.

CREATE UNIQUE INDEX api_keys_replaces ON api_keys (tenant_id, replaces)
  WHERE replaces IS NOT NULL AND revoked_at IS NULL;
