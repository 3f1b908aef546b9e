-- Rows for one huge transaction, and a few large ones. Made and changed without our triggers: what is asked is what delivery takes.
ALTER TABLE public.tasks DISABLE TRIGGER USER;
INSERT INTO public.tasks (organization_id, id, title)
SELECT 'acme', 'huge' || i, ''
FROM generate_series(1, %(rows)s) AS i;
INSERT INTO public.tasks (organization_id, id, title)
SELECT 'acme', 'large' || i, ''
FROM generate_series(1, 100) AS i;
