-- The durable log.

CREATE TABLE messages (
  position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text NOT NULL,
  message_id text NOT NULL,
  task_id text NOT NULL,
  context_id text NOT NULL,
  sender_id text NOT NULL,
  receiver_id text NOT NULL,
  in_reply_to text,
  role text NOT NULL CHECK (role IN ('user', 'agent')),
  content jsonb NOT NULL,
  metadata jsonb,
  model text,
  degraded text,
  input_tokens integer,
  output_tokens integer,
  usage_estimated boolean,
  duration_ms integer,
  request_id text,
  error_code text,
  created_at timestamptz NOT NULL,
  UNIQUE (tenant_id, sender_id, message_id, task_id)
);
COMMENT ON TABLE messages IS
  'Every message and every reply, appended once and never changed; outlives the tenant and the agents it names, '
  'so it references nothing. content and metadata are ProtoJSON.';
COMMENT ON COLUMN messages.position IS
  'Order of insertion, with gaps. Rows of several backends may become visible out of this order: '
  'who follows the whole table by position must expect late rows; within one context the order holds.';
CREATE INDEX messages_context ON messages (tenant_id, context_id, position);
CREATE INDEX messages_receiver ON messages (tenant_id, receiver_id, created_at);
