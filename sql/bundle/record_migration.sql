
INSERT INTO pgsync_private.migration (name)
VALUES ({{ name }});
