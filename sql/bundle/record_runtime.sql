
INSERT INTO pgsync_private.installed_object (model, kind, identity, hash)
VALUES ('', 'runtime', {{ identity }}, {{ hash }})
ON CONFLICT (kind, identity) DO UPDATE
SET hash = EXCLUDED.hash,
    state = NULL; -- the activation that follows notes it
