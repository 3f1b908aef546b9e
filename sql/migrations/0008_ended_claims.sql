-- Claims end with the credentials that they are held through.

ALTER TABLE pgsync_private.claim
  ADD COLUMN also_through text[],
  ADD COLUMN end_reason text,
  -- Claims are kept for an hour after their end: the table is small.
  -- squawk-ignore constraint-missing-not-valid
  ADD CONSTRAINT claim_end_reason_check CHECK (end_reason IN ('preempted', 'revoked'));
COMMENT ON COLUMN pgsync_private.claim.capability_id IS 'The credential that it was asked for with.';
COMMENT ON COLUMN pgsync_private.claim.also_through IS
  'Other credentials of the participant that have asked for it or kept it alive, the latest eight; empty text: a token of another issuer.';
COMMENT ON COLUMN pgsync_private.claim.end_reason IS 'Why it ended against its participant''s will. Null: its time was over, or it was given back.';

-- The table has a row per key.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX credential_revoked_at_idx ON pgsync_private.credential (revoked_at) WHERE revoked_at IS NOT NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX credential_rotated_expires_at_idx ON pgsync_private.credential (expires_at) WHERE rotated_to IS NOT NULL;
COMMENT ON COLUMN pgsync_private.claim_event.event IS 'granted, queued, released, canceled, expired, revoked, preempted or moved.';
