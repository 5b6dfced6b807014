-- Calls of models that belong to no reply.

ALTER TABLE model_attempts
  ADD COLUMN purpose text;
COMMENT ON COLUMN model_attempts.purpose IS
  'Null: the attempt belongs to a reply, whose tokens stand in messages. summary: to a summary of a conversation, whose '
  'tokens stand only here.';
