-- What a backend needs to answer the messages that another one accepted before it ended.

ALTER TABLE messages ADD COLUMN recovery jsonb;
COMMENT ON COLUMN messages.recovery IS
  'Of a question: who may follow its task, the backend that accepted it, and what else it takes to run it. Of a reply '
  'or a failure: the sequence of the task''s last event, and the error in the words of its sender.';

CREATE TABLE backends (
  id text PRIMARY KEY,
  seen_at timestamptz NOT NULL
);
COMMENT ON TABLE backends IS
  'Backend processes and when they last said that they live. Tasks of one that is silent for the lease time may be '
  'taken over.';

CREATE TABLE task_claims (
  tenant_id text NOT NULL,
  task_id text NOT NULL,
  backend_id text NOT NULL,
  reserved_sequence integer NOT NULL,
  takeovers integer NOT NULL,
  changed_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, task_id)
);
COMMENT ON TABLE task_claims IS
  'Tasks that another backend than the one that accepted them runs, and tasks with long answers. reserved_sequence: '
  'followers may have seen events up to it. A task without a row is at its first reservation.';
