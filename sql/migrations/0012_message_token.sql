-- Postgres lets everybody write messages into the log under any prefix; ours carry a word that only we know.

INSERT INTO pgsync_private.setting (name, value)
VALUES ('message_token', pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''));
COMMENT ON TABLE pgsync_private.setting IS
  'epoch: identity of the number line, new whenever it has to jump. change_retention_days: how long the change log is kept. change_floor_xid: no older change is in it. claim_fence_floor: no fence token that was forgotten is above it. message_token: what our messages in the log are known by.';
