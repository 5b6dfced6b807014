-- Turns that belong to no conversation.

ALTER TABLE messages
  ADD COLUMN own_history boolean;
COMMENT ON COLUMN messages.own_history IS
  'True when the sender brought its own history: the turn is not part of what was said in its context.';
