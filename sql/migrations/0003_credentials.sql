-- What sessions, rotation and publishable keys need to be kept of a credential.

ALTER TABLE pgsync_private.credential
  ADD COLUMN control_plane_only boolean NOT NULL DEFAULT false,
  ADD COLUMN rotated_to text;

COMMENT ON COLUMN pgsync_private.credential.operations IS 'What it may do, such as task.update or *.read; empty: everything.';
COMMENT ON COLUMN pgsync_private.credential.control_plane_only IS 'It may say who it is and nothing else: no rows, whatever operations says.';
COMMENT ON COLUMN pgsync_private.credential.minted_by IS 'The secret key that minted it; ends with it. Null: made by an administrator.';
COMMENT ON COLUMN pgsync_private.credential.rotated_to IS 'The credential that replaces it; this one lives on until expires_at.';

-- A publishable key is in everybody's hands: whatever it is given, it reads. The table has a row per key: it is read in no time.
ALTER TABLE pgsync_private.credential
  -- squawk-ignore constraint-missing-not-valid
  ADD CONSTRAINT credential_publishable_check
  CHECK (kind <> 'pk' OR pg_catalog.array_to_string(operations, ' ') ~ '^[^ .]+\.read( [^ .]+\.read)*$');

-- Not concurrently, for the same reason.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX credential_minted_by_idx ON pgsync_private.credential (minted_by) WHERE minted_by IS NOT NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX credential_rotated_to_idx ON pgsync_private.credential (rotated_to) WHERE rotated_to IS NOT NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX credential_expires_at_idx ON pgsync_private.credential (expires_at) WHERE kind IN ('rk', 'ek');
