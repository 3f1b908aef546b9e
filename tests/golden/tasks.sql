-- pgsync: what the schema with hash 447fa121 puts into a database that has the runtime; a part of push.sql.
-- Models: comments, projects, tasks.
-- Undo: revert.sql
BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '300s';
SET LOCAL search_path = '';


-- ===== tables =====
SELECT pg_catalog.to_regclass('public.comments') IS NULL AS make_comment
\gset
SELECT pg_catalog.to_regclass('public.projects') IS NULL AS make_project
\gset
SELECT pg_catalog.to_regclass('public.tasks') IS NULL AS make_task
\gset

\if :make_comment
-- Table of model comments. The comment tells later migrations that they may alter it.
CREATE TABLE public.comments (
  id text NOT NULL,
  organization_id text NOT NULL,
  body text NOT NULL,
  private boolean NOT NULL DEFAULT false,
  author_id text,
  task_id text NOT NULL,
  created_at timestamp with time zone NOT NULL DEFAULT pg_catalog.now(),
  updated_at timestamp with time zone NOT NULL DEFAULT pg_catalog.now(),
  created_by text,
  CONSTRAINT comments_pkey PRIMARY KEY (organization_id, id)
);
COMMENT ON TABLE public.comments IS '[pgsync model=comments]';

-- Finds the rows of a reference: task_id.
CREATE INDEX comments_organization_id_task_id_idx ON public.comments (organization_id, task_id);
COMMENT ON INDEX public.comments_organization_id_task_id_idx IS '[pgsync] Finds the rows of a reference: task_id.';

\endif

\if :make_project
-- Table of model projects. The comment tells later migrations that they may alter it.
CREATE TABLE public.projects (
  id text NOT NULL,
  organization_id text NOT NULL,
  name text NOT NULL,
  description text,
  archived boolean NOT NULL DEFAULT false,
  created_at timestamp with time zone NOT NULL DEFAULT pg_catalog.now(),
  updated_at timestamp with time zone NOT NULL DEFAULT pg_catalog.now(),
  created_by text,
  CONSTRAINT projects_pkey PRIMARY KEY (organization_id, id)
);
COMMENT ON TABLE public.projects IS '[pgsync model=projects]';

\endif

\if :make_task
-- Table of model tasks. The comment tells later migrations that they may alter it.
CREATE TABLE public.tasks (
  id text NOT NULL,
  organization_id text NOT NULL,
  title text NOT NULL,
  status text NOT NULL DEFAULT 'todo',
  priority integer NOT NULL DEFAULT 0,
  due date,
  tags text[] NOT NULL DEFAULT ARRAY[]::text[],
  assignee_id text,
  project_id text,
  created_at timestamp with time zone NOT NULL DEFAULT pg_catalog.now(),
  updated_at timestamp with time zone NOT NULL DEFAULT pg_catalog.now(),
  created_by text,
  CONSTRAINT tasks_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT tasks_status_check CHECK (status IN ('todo', 'doing', 'done'))
);
COMMENT ON TABLE public.tasks IS '[pgsync model=tasks]';

-- Declared in the schema: assignee_id.
CREATE INDEX tasks_organization_id_assignee_id_idx ON public.tasks (organization_id, assignee_id);
COMMENT ON INDEX public.tasks_organization_id_assignee_id_idx IS '[pgsync] Declared in the schema: assignee_id.';

-- Finds the rows of a reference: project_id.
CREATE INDEX tasks_organization_id_project_id_idx ON public.tasks (organization_id, project_id);
COMMENT ON INDEX public.tasks_organization_id_project_id_idx IS '[pgsync] Finds the rows of a reference: project_id.';

\endif

\if :make_comment
-- Reference task of model comments: a row of the same organization, or none.
ALTER TABLE public.comments
  ADD CONSTRAINT comments_task_id_fkey
  FOREIGN KEY (organization_id, task_id)
  REFERENCES public.tasks (organization_id, id)
  ON DELETE CASCADE;
COMMENT ON CONSTRAINT comments_task_id_fkey ON public.comments IS '[pgsync] Relation task.';

\endif

\if :make_task
-- Reference project of model tasks: a row of the same organization, or none.
ALTER TABLE public.tasks
  ADD CONSTRAINT tasks_project_id_fkey
  FOREIGN KEY (organization_id, project_id)
  REFERENCES public.projects (organization_id, id)
  ON DELETE CASCADE;
COMMENT ON CONSTRAINT tasks_project_id_fkey ON public.tasks IS '[pgsync] Relation project.';

\endif


-- ===== comments: functions =====

-- function pgsync_generated.comment_check(jsonb)
-- Checks the data of a write to comments: known fields, JSON types, enum values, nulls. Base fields are the server's own.
-- Raises: PS104 unknown field, PS105 wrong JSON type, 23502 null in a required field, 23514 not an enum value, PS303 foreign organization.
-- COLUMN names the field.
CREATE OR REPLACE FUNCTION pgsync_generated.comment_check(p_data jsonb)
  RETURNS void
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_field text;
BEGIN
  IF p_data - ARRAY['author_id', 'body', 'createdAt', 'createdBy', 'id', 'organizationId', 'private', 'task_id', 'updatedAt'] <> '{}' THEN
    SELECT pg_catalog.min(k.k)
    INTO v_field
    FROM pg_catalog.jsonb_object_keys(p_data - ARRAY['author_id', 'body', 'createdAt', 'createdBy', 'id', 'organizationId', 'private', 'task_id', 'updatedAt']) AS k(k);
    RAISE EXCEPTION USING
      ERRCODE = 'PS104',
      MESSAGE = pg_catalog.format('%s has no field %s', 'comments', pg_catalog.to_json(v_field)),
      DETAIL = 'fields: ' || 'body, private, author_id, task_id',
      HINT = 'Add the field to the schema and push it, or leave it out.',
      COLUMN = v_field;
  END IF;
  IF p_data ->> 'organizationId' <> pgsync.organization_id() THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS303',
      MESSAGE = 'a row belongs to the organization of the credential that writes it',
      HINT = 'Leave ' || 'organizationId' || ' out.',
      COLUMN = 'organizationId';
  END IF;

  v_field := CASE
    WHEN pg_catalog.jsonb_typeof(p_data -> 'body') NOT IN ('string', 'null') THEN 'body'
    WHEN pg_catalog.jsonb_typeof(p_data -> 'private') NOT IN ('boolean', 'null') THEN 'private'
    WHEN pg_catalog.jsonb_typeof(p_data -> 'author_id') NOT IN ('string', 'null') THEN 'author_id'
    WHEN pg_catalog.jsonb_typeof(p_data -> 'task_id') NOT IN ('string', 'null') THEN 'task_id'
    END;
  IF v_field IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS105',
      MESSAGE = pg_catalog.format('%s.%s: the value is a JSON %s', 'comments', v_field, pg_catalog.jsonb_typeof(p_data -> v_field)),
      DETAIL = 'expected: ' || CASE v_field
        WHEN 'body' THEN 'a string'
        WHEN 'private' THEN 'true or false'
        WHEN 'author_id' THEN 'a string'
        WHEN 'task_id' THEN 'a string'
        END,
      HINT = 'Send the JSON type that the schema declares.',
      COLUMN = v_field;
  END IF;

  v_field := CASE
    WHEN p_data -> 'body' = 'null' THEN 'body'
    WHEN p_data -> 'private' = 'null' THEN 'private'
    WHEN p_data -> 'task_id' = 'null' THEN 'task_id'
    END;
  IF v_field IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = '23502',
      MESSAGE = pg_catalog.format('%s.%s is required and cannot be null', 'comments', v_field),
      HINT = 'Send a value.',
      COLUMN = v_field;
  END IF;
END
$function$;

ALTER FUNCTION pgsync_generated.comment_check(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.comment_check(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.comment_check(jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.comment_check(jsonb) IS '[pgsync model=comments hash=28a56283812b34ef]';

-- function pgsync_generated.comment_create(text, jsonb)
-- Creates a row of comments. Returns created, or exists when there is a row with this id, which is left as it is.
-- Raises: as comment_check; PS103 for a required field that is missing; PS106 for an id that the key's type does not take; PS410 for a row
-- that a trigger or rule keeps from being written; the table's own constraints.
CREATE OR REPLACE FUNCTION pgsync_generated.comment_create(p_id text, p_data jsonb)
  RETURNS text
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
  v_field text;
BEGIN
  v_ignored := pgsync_generated.comment_check(p_data);
  IF NOT p_data ?& ARRAY['body', 'task_id'] THEN
    SELECT pg_catalog.min(r.r)
    INTO v_field
    FROM pg_catalog.unnest(ARRAY['body', 'task_id']) AS r(r)
    WHERE NOT p_data ? r.r;
    RAISE EXCEPTION USING
      ERRCODE = 'PS103',
      MESSAGE = pg_catalog.format('%s.%s is required', 'comments', v_field),
      HINT = 'Send a value: the schema declares no default.',
      COLUMN = v_field;
  END IF;
  -- Postgres checks a foreign key past row security; a row of another organization has to look exactly like a missing one.
  IF p_data ->> 'task_id' IS NOT NULL AND NOT EXISTS (
    SELECT
    FROM public.tasks AS r
    WHERE r.organization_id = pgsync.organization_id()
      AND r.id = p_data ->> 'task_id'
  ) THEN
    RAISE EXCEPTION USING
      ERRCODE = 'foreign_key_violation',
      MESSAGE = pg_catalog.format('%s.%s: no row %s in %s', 'comments', 'task_id', p_data -> 'task_id', 'tasks'),
      HINT = 'Create it first, or in an earlier operation of the same commit.',
      COLUMN = 'task_id',
      TABLE = 'comments';
  END IF;
  INSERT INTO public.comments AS t (
    organization_id,
    id,
    body,
    private,
    author_id,
    task_id,
    created_at,
    updated_at,
    created_by
  )
  VALUES (
    pgsync.organization_id(),
    p_id,
    p_data ->> 'body',
    CASE WHEN p_data ? 'private' THEN (p_data ->> 'private')::boolean ELSE false END,
    p_data ->> 'author_id',
    p_data ->> 'task_id',
    pg_catalog.statement_timestamp(),
    pg_catalog.statement_timestamp(),
    pgsync.participant_id()
  )
  ON CONFLICT DO NOTHING;
  IF FOUND THEN
    RETURN 'created';
  END IF;
  -- What triggers were given is over: names below are ours again.
  v_ignored := pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  IF EXISTS (
    SELECT
    FROM public.comments AS t
    WHERE t.organization_id = pgsync.organization_id()
    AND t.id = p_id
  ) THEN
    RETURN 'exists';
  END IF;
  -- Something else is in the way: a value that is taken or, where the id alone is the key, somebody else's row. Postgres says which. A trigger or
  -- rule says nothing.
  INSERT INTO public.comments AS t (
    organization_id,
    id,
    body,
    private,
    author_id,
    task_id,
    created_at,
    updated_at,
    created_by
  )
  VALUES (
    pgsync.organization_id(),
    p_id,
    p_data ->> 'body',
    CASE WHEN p_data ? 'private' THEN (p_data ->> 'private')::boolean ELSE false END,
    p_data ->> 'author_id',
    p_data ->> 'task_id',
    pg_catalog.statement_timestamp(),
    pg_catalog.statement_timestamp(),
    pgsync.participant_id()
  );
  IF FOUND THEN
    RETURN 'created';
  END IF;
  RETURN pgsync_private.unwritten('public.comments', 'create', 'comment', p_id, true);
END
$function$;

ALTER FUNCTION pgsync_generated.comment_create(text, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.comment_create(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.comment_create(text, jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.comment_create(text, jsonb) IS '[pgsync model=comments hash=2752f7d481ce197c]';

-- function pgsync_generated.comment_update(text, jsonb)
-- Updates the given fields of a row of comments. Returns updated, or missing.
-- Raises: as comment_check; PS106 for an id that the key's type does not take; PS410 for a row that a trigger or rule keeps from being
-- written; the table's own constraints.
CREATE OR REPLACE FUNCTION pgsync_generated.comment_update(p_id text, p_data jsonb)
  RETURNS text
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
  v_is_locked boolean := false;
BEGIN
  v_ignored := pgsync_generated.comment_check(p_data);
  -- Postgres checks a foreign key past row security; a row of another organization has to look exactly like a missing one.
  IF p_data ->> 'task_id' IS NOT NULL AND NOT EXISTS (
    SELECT
    FROM public.tasks AS r
    WHERE r.organization_id = pgsync.organization_id()
      AND r.id = p_data ->> 'task_id'
  ) THEN
    RAISE EXCEPTION USING
      ERRCODE = 'foreign_key_violation',
      MESSAGE = pg_catalog.format('%s.%s: no row %s in %s', 'comments', 'task_id', p_data -> 'task_id', 'tasks'),
      HINT = 'Create it first, or in an earlier operation of the same commit.',
      COLUMN = 'task_id',
      TABLE = 'comments';
  END IF;
  LOOP
    UPDATE public.comments AS t
    SET
      body = CASE WHEN p_data ? 'body' THEN p_data ->> 'body' ELSE t.body END,
      private = CASE WHEN p_data ? 'private' THEN (p_data ->> 'private')::boolean ELSE t.private END,
      author_id = CASE WHEN p_data ? 'author_id' THEN p_data ->> 'author_id' ELSE t.author_id END,
      task_id = CASE WHEN p_data ? 'task_id' THEN p_data ->> 'task_id' ELSE t.task_id END,
      updated_at = pg_catalog.statement_timestamp()
    WHERE t.organization_id = pgsync.organization_id()
      AND t.id = p_id;
    EXIT WHEN FOUND;
    -- No such row, or a trigger or rule keeps it from being written: once it is locked, a second attempt tells which. What triggers were given
    -- is over: names below are ours again.
    v_ignored := pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF v_is_locked OR NOT pgsync_generated.comment_lock(p_id, true) THEN
      RETURN pgsync_private.unwritten('public.comments', 'update', 'comment', p_id, v_is_locked);
    END IF;
    v_is_locked := true;
  END LOOP;
  RETURN 'updated';
END
$function$;

ALTER FUNCTION pgsync_generated.comment_update(text, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.comment_update(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.comment_update(text, jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.comment_update(text, jsonb) IS '[pgsync model=comments hash=11f8031ff083758c]';

-- function pgsync_generated.comment_delete(text)
-- Deletes a row of comments. Returns deleted, or missing.
-- Raises: PS106 for an id that the key's type does not take; PS410 for a row that a trigger or rule keeps from being deleted; 23503 when other
-- rows refer to it.
CREATE OR REPLACE FUNCTION pgsync_generated.comment_delete(p_id text)
  RETURNS text
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
  v_is_locked boolean := false;
BEGIN
  LOOP
    DELETE FROM public.comments AS t
    WHERE t.organization_id = pgsync.organization_id()
      AND t.id = p_id;
    EXIT WHEN FOUND;
    -- No such row, or a trigger or rule keeps it from being written: once it is locked, a second attempt tells which. What triggers were given
    -- is over: names below are ours again.
    v_ignored := pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF v_is_locked OR NOT pgsync_generated.comment_lock(p_id, true) THEN
      RETURN pgsync_private.unwritten('public.comments', 'delete', 'comment', p_id, v_is_locked);
    END IF;
    v_is_locked := true;
  END LOOP;
  RETURN 'deleted';
END
$function$;

ALTER FUNCTION pgsync_generated.comment_delete(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.comment_delete(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.comment_delete(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.comment_delete(text) IS '[pgsync model=comments hash=5789f88924910600]';

-- function pgsync_generated.comment_lock(text, boolean)
-- Locks a row of comments until the end of the transaction, against writers and, if p_exclusive, against sharers. False: there is no such row for the caller.
CREATE OR REPLACE FUNCTION pgsync_generated.comment_lock(p_id text, p_exclusive boolean)
  RETURNS boolean
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
BEGIN
  IF p_exclusive THEN
    PERFORM
    FROM public.comments AS t
    WHERE t.organization_id = pgsync.organization_id()
    AND t.id = p_id
    FOR UPDATE;
  ELSE
    PERFORM
    FROM public.comments AS t
    WHERE t.organization_id = pgsync.organization_id()
    AND t.id = p_id
    FOR SHARE;
  END IF;
  RETURN FOUND;
END
$function$;

ALTER FUNCTION pgsync_generated.comment_lock(text, boolean) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.comment_lock(text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.comment_lock(text, boolean) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.comment_lock(text, boolean) IS '[pgsync model=comments hash=ea63f68a0aabfada]';

-- function pgsync_generated.comment_texts(text, text[])
-- Values of a row of comments by field, as their types print them: {"field": text or null, ..}; null when there is no such row for the
-- caller. p_fields null: all fields.
CREATE OR REPLACE FUNCTION pgsync_generated.comment_texts(p_id text, p_fields text[])
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
BEGIN
  RETURN (
    SELECT pg_catalog.jsonb_object_agg(v.field, v.value)
    FROM public.comments AS t
    CROSS JOIN LATERAL (
      VALUES
        ('id', CASE WHEN t.id IS NOT NULL THEN pg_catalog.format('%s', t.id) END),
        ('organizationId', CASE WHEN t.organization_id IS NOT NULL THEN pg_catalog.format('%s', t.organization_id) END),
        ('body', CASE WHEN t.body IS NOT NULL THEN pg_catalog.format('%s', t.body) END),
        ('private', CASE WHEN t.private IS NOT NULL THEN pg_catalog.format('%s', t.private) END),
        ('author_id', CASE WHEN t.author_id IS NOT NULL THEN pg_catalog.format('%s', t.author_id) END),
        ('task_id', CASE WHEN t.task_id IS NOT NULL THEN pg_catalog.format('%s', t.task_id) END),
        ('createdAt', CASE WHEN t.created_at IS NOT NULL THEN pg_catalog.format('%s', t.created_at) END),
        ('updatedAt', CASE WHEN t.updated_at IS NOT NULL THEN pg_catalog.format('%s', t.updated_at) END),
        ('createdBy', CASE WHEN t.created_by IS NOT NULL THEN pg_catalog.format('%s', t.created_by) END)
    ) AS v(field, value)
    WHERE t.organization_id = pgsync.organization_id()
    AND t.id = p_id
      AND (p_fields IS NULL OR v.field = ANY (p_fields))
  );
END
$function$;

ALTER FUNCTION pgsync_generated.comment_texts(text, text[]) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.comment_texts(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.comment_texts(text, text[]) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.comment_texts(text, text[]) IS '[pgsync model=comments hash=6a7b903e347537bc]';

-- function pgsync_generated.comment_sees(text)
-- Whether the caller, whose identity has been set, sees a row of comments: what the policies say, for functions that run as another role.
CREATE OR REPLACE FUNCTION pgsync_generated.comment_sees(p_id text)
  RETURNS boolean
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
BEGIN
  RETURN EXISTS (
    SELECT
    FROM public.comments AS t
    WHERE t.organization_id = pgsync.organization_id()
    AND t.id = p_id
      AND t.organization_id = (SELECT pgsync.organization_id())
      AND (SELECT pgsync.holds_group('org:' || pgsync.organization_id()))
      AND (((NOT t.private) OR (t.author_id = (SELECT pgsync.participant_id()))))
  );
END
$function$;

ALTER FUNCTION pgsync_generated.comment_sees(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.comment_sees(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.comment_sees(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.comment_sees(text) IS '[pgsync model=comments hash=c423ab0382f01799]';

-- function pgsync_generated.comment_saw(jsonb)
-- Whether the caller, whose identity has been set, saw a row of comments when it had these values: what the policies say of it, without grants.
-- p_row: what the change log keeps. Null: not known, because an earlier version of the schema kept other columns.
CREATE OR REPLACE FUNCTION pgsync_generated.comment_saw(p_row jsonb)
  RETURNS boolean
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
BEGIN
  IF NOT p_row ?& ARRAY['organization_id', 'private', 'author_id'] THEN
    RETURN NULL;
  END IF;
  RETURN EXISTS (
    SELECT
    FROM pg_catalog.jsonb_to_record(p_row) AS t(
      organization_id text,
      private boolean,
      author_id text
    )
    WHERE t.organization_id = (SELECT pgsync.organization_id())
      AND (SELECT pgsync.holds_group('org:' || pgsync.organization_id()))
      AND (((NOT t.private) OR (t.author_id = (SELECT pgsync.participant_id()))))
  );
END
$function$;

ALTER FUNCTION pgsync_generated.comment_saw(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.comment_saw(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.comment_saw(jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.comment_saw(jsonb) IS '[pgsync model=comments hash=cd231bd0cd07e4ff]';

-- function pgsync_generated.comment_diagnose(jsonb)
-- Which fields of the data do not convert to their column's type, and why: [{"field", "message"}, ..]. Only runs after an error.
CREATE OR REPLACE FUNCTION pgsync_generated.comment_diagnose(p_data jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_problems jsonb := '[]'::jsonb;
BEGIN
  BEGIN
    PERFORM p_data ->> 'body';
  EXCEPTION
    WHEN data_exception THEN
      v_problems := v_problems || pg_catalog.jsonb_build_object('field', 'body', 'message', SQLERRM);
  END;
  BEGIN
    PERFORM (p_data ->> 'private')::boolean;
  EXCEPTION
    WHEN data_exception THEN
      v_problems := v_problems || pg_catalog.jsonb_build_object('field', 'private', 'message', SQLERRM);
  END;
  BEGIN
    PERFORM p_data ->> 'author_id';
  EXCEPTION
    WHEN data_exception THEN
      v_problems := v_problems || pg_catalog.jsonb_build_object('field', 'author_id', 'message', SQLERRM);
  END;
  BEGIN
    PERFORM p_data ->> 'task_id';
  EXCEPTION
    WHEN data_exception THEN
      v_problems := v_problems || pg_catalog.jsonb_build_object('field', 'task_id', 'message', SQLERRM);
  END;
  RETURN v_problems;
END
$function$;

ALTER FUNCTION pgsync_generated.comment_diagnose(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.comment_diagnose(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.comment_diagnose(jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.comment_diagnose(jsonb) IS '[pgsync model=comments hash=fbb87753a57bd82d]';

-- function pgsync_generated.comment_record()
-- Trigger, after every change of a row of comments by anybody: writes it to the change log, in the same transaction.
-- Made for the columns id text, organization_id text, body text, private boolean, author_id text, task_id text, created_at timestamp with time zone, updated_at timestamp with time zone, created_by text.
-- When somebody has dropped, renamed or retyped one of them by hand, his writes go on: fields that cannot be compared any more count as changed,
-- and where nobody can say which row it was or whose, all rows count as changed. Other errors do not occur in the guarded block, which writes
-- nothing and so costs no transaction id.
-- SECURITY DEFINER: any role may write the table, only we write the change log.
CREATE OR REPLACE FUNCTION pgsync_generated.comment_record()
  RETURNS trigger
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
  v_commit text := pgsync_private.current_commit();
  v_actor_kind text := CASE WHEN v_commit IS NOT NULL THEN pg_catalog.current_setting('pgsync.participant_kind', true) END;
  v_actor_id text := CASE WHEN v_commit IS NOT NULL THEN pg_catalog.current_setting('pgsync.participant_id', true) END;
  v_role text := pgsync_private.role_name();
  v_is_same boolean := false;
  v_fields text[];
  v_old_id text;
  v_old_tenant text;
  v_old_groups text[];
  v_new_id text;
  v_new_tenant text;
  v_new_groups text[];
  v_old_row jsonb;
  v_new_row jsonb;
  v_old jsonb;
  v_new jsonb;
BEGIN
  BEGIN
    IF TG_OP = 'UPDATE' THEN
      IF NEW.organization_id IS NOT DISTINCT FROM OLD.organization_id AND NEW.id = OLD.id THEN
        v_is_same := true;
        v_fields := pg_catalog.array_remove(
          ARRAY[
            CASE WHEN NEW.body IS DISTINCT FROM OLD.body THEN 'body' END,
            CASE WHEN NEW.private IS DISTINCT FROM OLD.private THEN 'private' END,
            CASE WHEN NEW.author_id IS DISTINCT FROM OLD.author_id THEN 'author_id' END,
            CASE WHEN NEW.task_id IS DISTINCT FROM OLD.task_id THEN 'task_id' END,
            CASE WHEN NEW.created_at IS DISTINCT FROM OLD.created_at THEN 'createdAt' END,
            CASE WHEN NEW.created_by IS DISTINCT FROM OLD.created_by THEN 'createdBy' END
          ]::text[],
          NULL);
        v_old_row := CASE WHEN NEW.organization_id IS DISTINCT FROM OLD.organization_id OR NEW.private IS DISTINCT FROM OLD.private OR NEW.author_id IS DISTINCT FROM OLD.author_id THEN pg_catalog.jsonb_build_object('organization_id', OLD.organization_id, 'private', OLD.private, 'author_id', OLD.author_id) END;
        v_new_row := pg_catalog.jsonb_build_object('organization_id', NEW.organization_id, 'private', NEW.private, 'author_id', NEW.author_id);
        v_new_tenant := NEW.organization_id;
        v_new_id := NEW.id;
      END IF;
    END IF;
    IF NOT v_is_same AND TG_OP <> 'INSERT' THEN
      v_old_id := OLD.id;
      v_old_tenant := OLD.organization_id;
      v_old_row := pg_catalog.jsonb_build_object('organization_id', OLD.organization_id, 'private', OLD.private, 'author_id', OLD.author_id);
    END IF;
    IF NOT v_is_same AND TG_OP <> 'DELETE' THEN
      v_new_id := NEW.id;
      v_new_tenant := NEW.organization_id;
      v_new_row := pg_catalog.jsonb_build_object('organization_id', NEW.organization_id, 'private', NEW.private, 'author_id', NEW.author_id);
    END IF;
  EXCEPTION WHEN syntax_error_or_access_rule_violation THEN -- no such column, or not of the type that this session has met it with
    v_old := CASE WHEN TG_OP <> 'INSERT' THEN pg_catalog.to_jsonb(OLD) END;
    v_new := CASE WHEN TG_OP <> 'DELETE' THEN pg_catalog.to_jsonb(NEW) END;
    IF NOT COALESCE(v_new, v_old) ?& ARRAY['id', 'organization_id'] THEN
      INSERT INTO pgsync_private.change (model, row_id, op, server_tx_id, role_name)
      VALUES ('comment', '', 'T', v_commit, v_role);
      RETURN NULL;
    END IF;
    v_old_id := v_old ->> 'id';
    v_new_id := v_new ->> 'id';
    v_old_row := NULL; -- who saw it is not known
    v_new_row := NULL;
    v_old_tenant := v_old ->> 'organization_id';
    v_new_tenant := v_new ->> 'organization_id';
    v_is_same := COALESCE((v_new_tenant, v_new_id) IS NOT DISTINCT FROM (v_old_tenant, v_old_id), false);
    IF v_is_same THEN
      v_fields := pgsync_private.changed_fields(v_old, v_new, '[["body", "body"], ["private", "private"], ["author_id", "author_id"], ["task_id", "task_id"], ["created_at", "createdAt"], ["created_by", "createdBy"]]');
    END IF;
  END;

  -- Whoever commits with a premise on a whole group waits for the writers of the organization that are under way, and they for him.
  v_ignored := pg_catalog.pg_advisory_xact_lock_shared(
    pgsync_private.organization_lock(CASE WHEN TG_OP = 'DELETE' THEN v_old_tenant ELSE v_new_tenant END));
  IF v_is_same THEN
    INSERT INTO pgsync_private.change (organization_id, model, row_id, op, fields, sync_groups, old_row, new_row, server_tx_id, actor_kind, actor_id, role_name)
    VALUES (v_new_tenant, 'comment', v_new_id, 'U', v_fields, v_new_groups, v_old_row, v_new_row, v_commit, v_actor_kind, v_actor_id, v_role);
    RETURN NULL;
  END IF;
  IF TG_OP <> 'INSERT' THEN
    INSERT INTO pgsync_private.change (organization_id, model, row_id, op, sync_groups, old_row, server_tx_id, actor_kind, actor_id, role_name)
    VALUES (v_old_tenant, 'comment', v_old_id, 'D', v_old_groups, v_old_row, v_commit, v_actor_kind, v_actor_id, v_role);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO pgsync_private.change (organization_id, model, row_id, op, sync_groups, new_row, server_tx_id, actor_kind, actor_id, role_name)
    VALUES (v_new_tenant, 'comment', v_new_id, 'I', v_new_groups, v_new_row, v_commit, v_actor_kind, v_actor_id, v_role);
  END IF;
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_generated.comment_record() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.comment_record() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_generated.comment_record() IS '[pgsync model=comments hash=152f2ebe4d4ef160]';


-- ===== projects: functions =====

-- function pgsync_generated.project_check(jsonb)
-- Checks the data of a write to projects: known fields, JSON types, enum values, nulls. Base fields are the server's own.
-- Raises: PS104 unknown field, PS105 wrong JSON type, 23502 null in a required field, 23514 not an enum value, PS303 foreign organization.
-- COLUMN names the field.
CREATE OR REPLACE FUNCTION pgsync_generated.project_check(p_data jsonb)
  RETURNS void
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_field text;
BEGIN
  IF p_data - ARRAY['archived', 'createdAt', 'createdBy', 'description', 'id', 'name', 'organizationId', 'updatedAt'] <> '{}' THEN
    SELECT pg_catalog.min(k.k)
    INTO v_field
    FROM pg_catalog.jsonb_object_keys(p_data - ARRAY['archived', 'createdAt', 'createdBy', 'description', 'id', 'name', 'organizationId', 'updatedAt']) AS k(k);
    RAISE EXCEPTION USING
      ERRCODE = 'PS104',
      MESSAGE = pg_catalog.format('%s has no field %s', 'projects', pg_catalog.to_json(v_field)),
      DETAIL = 'fields: ' || 'name, description, archived',
      HINT = 'Add the field to the schema and push it, or leave it out.',
      COLUMN = v_field;
  END IF;
  IF p_data ->> 'organizationId' <> pgsync.organization_id() THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS303',
      MESSAGE = 'a row belongs to the organization of the credential that writes it',
      HINT = 'Leave ' || 'organizationId' || ' out.',
      COLUMN = 'organizationId';
  END IF;

  v_field := CASE
    WHEN pg_catalog.jsonb_typeof(p_data -> 'name') NOT IN ('string', 'null') THEN 'name'
    WHEN pg_catalog.jsonb_typeof(p_data -> 'description') NOT IN ('string', 'null') THEN 'description'
    WHEN pg_catalog.jsonb_typeof(p_data -> 'archived') NOT IN ('boolean', 'null') THEN 'archived'
    END;
  IF v_field IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS105',
      MESSAGE = pg_catalog.format('%s.%s: the value is a JSON %s', 'projects', v_field, pg_catalog.jsonb_typeof(p_data -> v_field)),
      DETAIL = 'expected: ' || CASE v_field
        WHEN 'name' THEN 'a string'
        WHEN 'description' THEN 'a string'
        WHEN 'archived' THEN 'true or false'
        END,
      HINT = 'Send the JSON type that the schema declares.',
      COLUMN = v_field;
  END IF;

  v_field := CASE
    WHEN p_data -> 'name' = 'null' THEN 'name'
    WHEN p_data -> 'archived' = 'null' THEN 'archived'
    END;
  IF v_field IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = '23502',
      MESSAGE = pg_catalog.format('%s.%s is required and cannot be null', 'projects', v_field),
      HINT = 'Send a value.',
      COLUMN = v_field;
  END IF;
END
$function$;

ALTER FUNCTION pgsync_generated.project_check(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.project_check(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.project_check(jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.project_check(jsonb) IS '[pgsync model=projects hash=340f01bbae82d7e4]';

-- function pgsync_generated.project_create(text, jsonb)
-- Creates a row of projects. Returns created, or exists when there is a row with this id, which is left as it is.
-- Raises: as project_check; PS103 for a required field that is missing; PS106 for an id that the key's type does not take; PS410 for a row
-- that a trigger or rule keeps from being written; the table's own constraints.
CREATE OR REPLACE FUNCTION pgsync_generated.project_create(p_id text, p_data jsonb)
  RETURNS text
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
  v_field text;
BEGIN
  v_ignored := pgsync_generated.project_check(p_data);
  IF NOT p_data ?& ARRAY['name'] THEN
    SELECT pg_catalog.min(r.r)
    INTO v_field
    FROM pg_catalog.unnest(ARRAY['name']) AS r(r)
    WHERE NOT p_data ? r.r;
    RAISE EXCEPTION USING
      ERRCODE = 'PS103',
      MESSAGE = pg_catalog.format('%s.%s is required', 'projects', v_field),
      HINT = 'Send a value: the schema declares no default.',
      COLUMN = v_field;
  END IF;
  INSERT INTO public.projects AS t (
    organization_id,
    id,
    name,
    description,
    archived,
    created_at,
    updated_at,
    created_by
  )
  VALUES (
    pgsync.organization_id(),
    p_id,
    p_data ->> 'name',
    p_data ->> 'description',
    CASE WHEN p_data ? 'archived' THEN (p_data ->> 'archived')::boolean ELSE false END,
    pg_catalog.statement_timestamp(),
    pg_catalog.statement_timestamp(),
    pgsync.participant_id()
  )
  ON CONFLICT DO NOTHING;
  IF FOUND THEN
    RETURN 'created';
  END IF;
  -- What triggers were given is over: names below are ours again.
  v_ignored := pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  IF EXISTS (
    SELECT
    FROM public.projects AS t
    WHERE t.organization_id = pgsync.organization_id()
    AND t.id = p_id
  ) THEN
    RETURN 'exists';
  END IF;
  -- Something else is in the way: a value that is taken or, where the id alone is the key, somebody else's row. Postgres says which. A trigger or
  -- rule says nothing.
  INSERT INTO public.projects AS t (
    organization_id,
    id,
    name,
    description,
    archived,
    created_at,
    updated_at,
    created_by
  )
  VALUES (
    pgsync.organization_id(),
    p_id,
    p_data ->> 'name',
    p_data ->> 'description',
    CASE WHEN p_data ? 'archived' THEN (p_data ->> 'archived')::boolean ELSE false END,
    pg_catalog.statement_timestamp(),
    pg_catalog.statement_timestamp(),
    pgsync.participant_id()
  );
  IF FOUND THEN
    RETURN 'created';
  END IF;
  RETURN pgsync_private.unwritten('public.projects', 'create', 'project', p_id, true);
END
$function$;

ALTER FUNCTION pgsync_generated.project_create(text, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.project_create(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.project_create(text, jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.project_create(text, jsonb) IS '[pgsync model=projects hash=1544b35d2f62b371]';

-- function pgsync_generated.project_update(text, jsonb)
-- Updates the given fields of a row of projects. Returns updated, or missing.
-- Raises: as project_check; PS106 for an id that the key's type does not take; PS410 for a row that a trigger or rule keeps from being
-- written; the table's own constraints.
CREATE OR REPLACE FUNCTION pgsync_generated.project_update(p_id text, p_data jsonb)
  RETURNS text
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
  v_is_locked boolean := false;
BEGIN
  v_ignored := pgsync_generated.project_check(p_data);
  LOOP
    UPDATE public.projects AS t
    SET
      name = CASE WHEN p_data ? 'name' THEN p_data ->> 'name' ELSE t.name END,
      description = CASE WHEN p_data ? 'description' THEN p_data ->> 'description' ELSE t.description END,
      archived = CASE WHEN p_data ? 'archived' THEN (p_data ->> 'archived')::boolean ELSE t.archived END,
      updated_at = pg_catalog.statement_timestamp()
    WHERE t.organization_id = pgsync.organization_id()
      AND t.id = p_id;
    EXIT WHEN FOUND;
    -- No such row, or a trigger or rule keeps it from being written: once it is locked, a second attempt tells which. What triggers were given
    -- is over: names below are ours again.
    v_ignored := pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF v_is_locked OR NOT pgsync_generated.project_lock(p_id, true) THEN
      RETURN pgsync_private.unwritten('public.projects', 'update', 'project', p_id, v_is_locked);
    END IF;
    v_is_locked := true;
  END LOOP;
  RETURN 'updated';
END
$function$;

ALTER FUNCTION pgsync_generated.project_update(text, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.project_update(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.project_update(text, jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.project_update(text, jsonb) IS '[pgsync model=projects hash=df35eae29f64fd7d]';

-- function pgsync_generated.project_delete(text)
-- Deletes a row of projects. Returns deleted, or missing.
-- Raises: PS106 for an id that the key's type does not take; PS410 for a row that a trigger or rule keeps from being deleted; 23503 when other
-- rows refer to it.
CREATE OR REPLACE FUNCTION pgsync_generated.project_delete(p_id text)
  RETURNS text
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
  v_is_locked boolean := false;
BEGIN
  LOOP
    DELETE FROM public.projects AS t
    WHERE t.organization_id = pgsync.organization_id()
      AND t.id = p_id;
    EXIT WHEN FOUND;
    -- No such row, or a trigger or rule keeps it from being written: once it is locked, a second attempt tells which. What triggers were given
    -- is over: names below are ours again.
    v_ignored := pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF v_is_locked OR NOT pgsync_generated.project_lock(p_id, true) THEN
      RETURN pgsync_private.unwritten('public.projects', 'delete', 'project', p_id, v_is_locked);
    END IF;
    v_is_locked := true;
  END LOOP;
  RETURN 'deleted';
END
$function$;

ALTER FUNCTION pgsync_generated.project_delete(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.project_delete(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.project_delete(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.project_delete(text) IS '[pgsync model=projects hash=7397b75f802eac25]';

-- function pgsync_generated.project_lock(text, boolean)
-- Locks a row of projects until the end of the transaction, against writers and, if p_exclusive, against sharers. False: there is no such row for the caller.
CREATE OR REPLACE FUNCTION pgsync_generated.project_lock(p_id text, p_exclusive boolean)
  RETURNS boolean
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
BEGIN
  IF p_exclusive THEN
    PERFORM
    FROM public.projects AS t
    WHERE t.organization_id = pgsync.organization_id()
    AND t.id = p_id
    FOR UPDATE;
  ELSE
    PERFORM
    FROM public.projects AS t
    WHERE t.organization_id = pgsync.organization_id()
    AND t.id = p_id
    FOR SHARE;
  END IF;
  RETURN FOUND;
END
$function$;

ALTER FUNCTION pgsync_generated.project_lock(text, boolean) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.project_lock(text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.project_lock(text, boolean) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.project_lock(text, boolean) IS '[pgsync model=projects hash=e5347820daabc0b3]';

-- function pgsync_generated.project_texts(text, text[])
-- Values of a row of projects by field, as their types print them: {"field": text or null, ..}; null when there is no such row for the
-- caller. p_fields null: all fields.
CREATE OR REPLACE FUNCTION pgsync_generated.project_texts(p_id text, p_fields text[])
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
BEGIN
  RETURN (
    SELECT pg_catalog.jsonb_object_agg(v.field, v.value)
    FROM public.projects AS t
    CROSS JOIN LATERAL (
      VALUES
        ('id', CASE WHEN t.id IS NOT NULL THEN pg_catalog.format('%s', t.id) END),
        ('organizationId', CASE WHEN t.organization_id IS NOT NULL THEN pg_catalog.format('%s', t.organization_id) END),
        ('name', CASE WHEN t.name IS NOT NULL THEN pg_catalog.format('%s', t.name) END),
        ('description', CASE WHEN t.description IS NOT NULL THEN pg_catalog.format('%s', t.description) END),
        ('archived', CASE WHEN t.archived IS NOT NULL THEN pg_catalog.format('%s', t.archived) END),
        ('createdAt', CASE WHEN t.created_at IS NOT NULL THEN pg_catalog.format('%s', t.created_at) END),
        ('updatedAt', CASE WHEN t.updated_at IS NOT NULL THEN pg_catalog.format('%s', t.updated_at) END),
        ('createdBy', CASE WHEN t.created_by IS NOT NULL THEN pg_catalog.format('%s', t.created_by) END)
    ) AS v(field, value)
    WHERE t.organization_id = pgsync.organization_id()
    AND t.id = p_id
      AND (p_fields IS NULL OR v.field = ANY (p_fields))
  );
END
$function$;

ALTER FUNCTION pgsync_generated.project_texts(text, text[]) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.project_texts(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.project_texts(text, text[]) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.project_texts(text, text[]) IS '[pgsync model=projects hash=7d010a8779d0a47a]';

-- function pgsync_generated.project_sees(text)
-- Whether the caller, whose identity has been set, sees a row of projects: what the policies say, for functions that run as another role.
CREATE OR REPLACE FUNCTION pgsync_generated.project_sees(p_id text)
  RETURNS boolean
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
BEGIN
  RETURN EXISTS (
    SELECT
    FROM public.projects AS t
    WHERE t.organization_id = pgsync.organization_id()
    AND t.id = p_id
      AND t.organization_id = (SELECT pgsync.organization_id())
      AND (SELECT pgsync.holds_group('org:' || pgsync.organization_id()))
  );
END
$function$;

ALTER FUNCTION pgsync_generated.project_sees(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.project_sees(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.project_sees(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.project_sees(text) IS '[pgsync model=projects hash=5a188e8e10332f82]';

-- function pgsync_generated.project_diagnose(jsonb)
-- Which fields of the data do not convert to their column's type, and why: [{"field", "message"}, ..]. Only runs after an error.
CREATE OR REPLACE FUNCTION pgsync_generated.project_diagnose(p_data jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_problems jsonb := '[]'::jsonb;
BEGIN
  BEGIN
    PERFORM p_data ->> 'name';
  EXCEPTION
    WHEN data_exception THEN
      v_problems := v_problems || pg_catalog.jsonb_build_object('field', 'name', 'message', SQLERRM);
  END;
  BEGIN
    PERFORM p_data ->> 'description';
  EXCEPTION
    WHEN data_exception THEN
      v_problems := v_problems || pg_catalog.jsonb_build_object('field', 'description', 'message', SQLERRM);
  END;
  BEGIN
    PERFORM (p_data ->> 'archived')::boolean;
  EXCEPTION
    WHEN data_exception THEN
      v_problems := v_problems || pg_catalog.jsonb_build_object('field', 'archived', 'message', SQLERRM);
  END;
  RETURN v_problems;
END
$function$;

ALTER FUNCTION pgsync_generated.project_diagnose(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.project_diagnose(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.project_diagnose(jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.project_diagnose(jsonb) IS '[pgsync model=projects hash=244f262da6808fd4]';

-- function pgsync_generated.project_record()
-- Trigger, after every change of a row of projects by anybody: writes it to the change log, in the same transaction.
-- Made for the columns id text, organization_id text, name text, description text, archived boolean, created_at timestamp with time zone, updated_at timestamp with time zone, created_by text.
-- When somebody has dropped, renamed or retyped one of them by hand, his writes go on: fields that cannot be compared any more count as changed,
-- and where nobody can say which row it was or whose, all rows count as changed. Other errors do not occur in the guarded block, which writes
-- nothing and so costs no transaction id.
-- SECURITY DEFINER: any role may write the table, only we write the change log.
CREATE OR REPLACE FUNCTION pgsync_generated.project_record()
  RETURNS trigger
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
  v_commit text := pgsync_private.current_commit();
  v_actor_kind text := CASE WHEN v_commit IS NOT NULL THEN pg_catalog.current_setting('pgsync.participant_kind', true) END;
  v_actor_id text := CASE WHEN v_commit IS NOT NULL THEN pg_catalog.current_setting('pgsync.participant_id', true) END;
  v_role text := pgsync_private.role_name();
  v_is_same boolean := false;
  v_fields text[];
  v_old_id text;
  v_old_tenant text;
  v_old_groups text[];
  v_new_id text;
  v_new_tenant text;
  v_new_groups text[];
  v_old jsonb;
  v_new jsonb;
BEGIN
  BEGIN
    IF TG_OP = 'UPDATE' THEN
      IF NEW.organization_id IS NOT DISTINCT FROM OLD.organization_id AND NEW.id = OLD.id THEN
        v_is_same := true;
        v_fields := pg_catalog.array_remove(
          ARRAY[
            CASE WHEN NEW.name IS DISTINCT FROM OLD.name THEN 'name' END,
            CASE WHEN NEW.description IS DISTINCT FROM OLD.description THEN 'description' END,
            CASE WHEN NEW.archived IS DISTINCT FROM OLD.archived THEN 'archived' END,
            CASE WHEN NEW.created_at IS DISTINCT FROM OLD.created_at THEN 'createdAt' END,
            CASE WHEN NEW.created_by IS DISTINCT FROM OLD.created_by THEN 'createdBy' END
          ]::text[],
          NULL);
        v_new_tenant := NEW.organization_id;
        v_new_id := NEW.id;
      END IF;
    END IF;
    IF NOT v_is_same AND TG_OP <> 'INSERT' THEN
      v_old_id := OLD.id;
      v_old_tenant := OLD.organization_id;
    END IF;
    IF NOT v_is_same AND TG_OP <> 'DELETE' THEN
      v_new_id := NEW.id;
      v_new_tenant := NEW.organization_id;
    END IF;
  EXCEPTION WHEN syntax_error_or_access_rule_violation THEN -- no such column, or not of the type that this session has met it with
    v_old := CASE WHEN TG_OP <> 'INSERT' THEN pg_catalog.to_jsonb(OLD) END;
    v_new := CASE WHEN TG_OP <> 'DELETE' THEN pg_catalog.to_jsonb(NEW) END;
    IF NOT COALESCE(v_new, v_old) ?& ARRAY['id', 'organization_id'] THEN
      INSERT INTO pgsync_private.change (model, row_id, op, server_tx_id, role_name)
      VALUES ('project', '', 'T', v_commit, v_role);
      RETURN NULL;
    END IF;
    v_old_id := v_old ->> 'id';
    v_new_id := v_new ->> 'id';
    v_old_tenant := v_old ->> 'organization_id';
    v_new_tenant := v_new ->> 'organization_id';
    v_is_same := COALESCE((v_new_tenant, v_new_id) IS NOT DISTINCT FROM (v_old_tenant, v_old_id), false);
    IF v_is_same THEN
      v_fields := pgsync_private.changed_fields(v_old, v_new, '[["name", "name"], ["description", "description"], ["archived", "archived"], ["created_at", "createdAt"], ["created_by", "createdBy"]]');
    END IF;
  END;

  -- Whoever commits with a premise on a whole group waits for the writers of the organization that are under way, and they for him.
  v_ignored := pg_catalog.pg_advisory_xact_lock_shared(
    pgsync_private.organization_lock(CASE WHEN TG_OP = 'DELETE' THEN v_old_tenant ELSE v_new_tenant END));
  IF v_is_same THEN
    INSERT INTO pgsync_private.change (organization_id, model, row_id, op, fields, sync_groups, server_tx_id, actor_kind, actor_id, role_name)
    VALUES (v_new_tenant, 'project', v_new_id, 'U', v_fields, v_new_groups, v_commit, v_actor_kind, v_actor_id, v_role);
    RETURN NULL;
  END IF;
  IF TG_OP <> 'INSERT' THEN
    INSERT INTO pgsync_private.change (organization_id, model, row_id, op, sync_groups, server_tx_id, actor_kind, actor_id, role_name)
    VALUES (v_old_tenant, 'project', v_old_id, 'D', v_old_groups, v_commit, v_actor_kind, v_actor_id, v_role);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO pgsync_private.change (organization_id, model, row_id, op, sync_groups, server_tx_id, actor_kind, actor_id, role_name)
    VALUES (v_new_tenant, 'project', v_new_id, 'I', v_new_groups, v_commit, v_actor_kind, v_actor_id, v_role);
  END IF;
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_generated.project_record() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.project_record() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_generated.project_record() IS '[pgsync model=projects hash=02bc08ef5e5e650c]';


-- ===== tasks: functions =====

-- function pgsync_generated.task_check(jsonb)
-- Checks the data of a write to tasks: known fields, JSON types, enum values, nulls. Base fields are the server's own.
-- Raises: PS104 unknown field, PS105 wrong JSON type, 23502 null in a required field, 23514 not an enum value, PS303 foreign organization.
-- COLUMN names the field.
CREATE OR REPLACE FUNCTION pgsync_generated.task_check(p_data jsonb)
  RETURNS void
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_field text;
BEGIN
  IF p_data - ARRAY['assignee_id', 'createdAt', 'createdBy', 'due', 'id', 'organizationId', 'priority', 'project_id', 'status', 'tags', 'title', 'updatedAt'] <> '{}' THEN
    SELECT pg_catalog.min(k.k)
    INTO v_field
    FROM pg_catalog.jsonb_object_keys(p_data - ARRAY['assignee_id', 'createdAt', 'createdBy', 'due', 'id', 'organizationId', 'priority', 'project_id', 'status', 'tags', 'title', 'updatedAt']) AS k(k);
    RAISE EXCEPTION USING
      ERRCODE = 'PS104',
      MESSAGE = pg_catalog.format('%s has no field %s', 'tasks', pg_catalog.to_json(v_field)),
      DETAIL = 'fields: ' || 'title, status, priority, due, tags, assignee_id, project_id',
      HINT = 'Add the field to the schema and push it, or leave it out.',
      COLUMN = v_field;
  END IF;
  IF p_data ->> 'organizationId' <> pgsync.organization_id() THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS303',
      MESSAGE = 'a row belongs to the organization of the credential that writes it',
      HINT = 'Leave ' || 'organizationId' || ' out.',
      COLUMN = 'organizationId';
  END IF;

  v_field := CASE
    WHEN pg_catalog.jsonb_typeof(p_data -> 'title') NOT IN ('string', 'null') THEN 'title'
    WHEN pg_catalog.jsonb_typeof(p_data -> 'status') NOT IN ('string', 'null') THEN 'status'
    WHEN pg_catalog.jsonb_typeof(p_data -> 'priority') NOT IN ('number', 'string', 'null') THEN 'priority'
    WHEN pg_catalog.jsonb_typeof(p_data -> 'due') NOT IN ('string', 'null') THEN 'due'
    WHEN pg_catalog.jsonb_typeof(p_data -> 'tags') NOT IN ('array', 'null') THEN 'tags'
    WHEN pg_catalog.jsonb_typeof(p_data -> 'assignee_id') NOT IN ('string', 'null') THEN 'assignee_id'
    WHEN pg_catalog.jsonb_typeof(p_data -> 'project_id') NOT IN ('string', 'null') THEN 'project_id'
    END;
  IF v_field IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS105',
      MESSAGE = pg_catalog.format('%s.%s: the value is a JSON %s', 'tasks', v_field, pg_catalog.jsonb_typeof(p_data -> v_field)),
      DETAIL = 'expected: ' || CASE v_field
        WHEN 'title' THEN 'a string'
        WHEN 'status' THEN 'a string'
        WHEN 'priority' THEN 'a number, or a string of digits'
        WHEN 'due' THEN 'a string such as 2026-01-02'
        WHEN 'tags' THEN 'an array'
        WHEN 'assignee_id' THEN 'a string'
        WHEN 'project_id' THEN 'a string'
        END,
      HINT = 'Send the JSON type that the schema declares.',
      COLUMN = v_field;
  END IF;

  v_field := CASE
    WHEN p_data ->> 'status' NOT IN ('todo', 'doing', 'done') THEN 'status'
    END;
  IF v_field IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = '23514',
      MESSAGE = pg_catalog.format('%s.%s: %s is not one of: %s', 'tasks', v_field, p_data -> v_field, CASE v_field
        WHEN 'status' THEN 'todo, doing, done'
        END),
      HINT = 'Send one of the values, or add this one to the schema and push it.',
      COLUMN = v_field;
  END IF;

  v_field := CASE
    WHEN p_data -> 'title' = 'null' THEN 'title'
    WHEN p_data -> 'status' = 'null' THEN 'status'
    WHEN p_data -> 'priority' = 'null' THEN 'priority'
    WHEN p_data -> 'tags' = 'null' THEN 'tags'
    END;
  IF v_field IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = '23502',
      MESSAGE = pg_catalog.format('%s.%s is required and cannot be null', 'tasks', v_field),
      HINT = 'Send a value.',
      COLUMN = v_field;
  END IF;
END
$function$;

ALTER FUNCTION pgsync_generated.task_check(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.task_check(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.task_check(jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.task_check(jsonb) IS '[pgsync model=tasks hash=cc207ba747a25f5e]';

-- function pgsync_generated.task_create(text, jsonb)
-- Creates a row of tasks. Returns created, or exists when there is a row with this id, which is left as it is.
-- Raises: as task_check; PS103 for a required field that is missing; PS106 for an id that the key's type does not take; PS410 for a row
-- that a trigger or rule keeps from being written; the table's own constraints.
CREATE OR REPLACE FUNCTION pgsync_generated.task_create(p_id text, p_data jsonb)
  RETURNS text
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
  v_field text;
BEGIN
  v_ignored := pgsync_generated.task_check(p_data);
  IF NOT p_data ?& ARRAY['title'] THEN
    SELECT pg_catalog.min(r.r)
    INTO v_field
    FROM pg_catalog.unnest(ARRAY['title']) AS r(r)
    WHERE NOT p_data ? r.r;
    RAISE EXCEPTION USING
      ERRCODE = 'PS103',
      MESSAGE = pg_catalog.format('%s.%s is required', 'tasks', v_field),
      HINT = 'Send a value: the schema declares no default.',
      COLUMN = v_field;
  END IF;
  -- Postgres checks a foreign key past row security; a row of another organization has to look exactly like a missing one.
  IF p_data ->> 'project_id' IS NOT NULL AND NOT EXISTS (
    SELECT
    FROM public.projects AS r
    WHERE r.organization_id = pgsync.organization_id()
      AND r.id = p_data ->> 'project_id'
  ) THEN
    RAISE EXCEPTION USING
      ERRCODE = 'foreign_key_violation',
      MESSAGE = pg_catalog.format('%s.%s: no row %s in %s', 'tasks', 'project_id', p_data -> 'project_id', 'projects'),
      HINT = 'Create it first, or in an earlier operation of the same commit.',
      COLUMN = 'project_id',
      TABLE = 'tasks';
  END IF;
  INSERT INTO public.tasks AS t (
    organization_id,
    id,
    title,
    status,
    priority,
    due,
    tags,
    assignee_id,
    project_id,
    created_at,
    updated_at,
    created_by
  )
  VALUES (
    pgsync.organization_id(),
    p_id,
    p_data ->> 'title',
    CASE WHEN p_data ? 'status' THEN p_data ->> 'status' ELSE 'todo' END,
    CASE WHEN p_data ? 'priority' THEN (p_data ->> 'priority')::integer ELSE 0 END,
    (p_data ->> 'due')::date,
    CASE WHEN p_data ? 'tags' THEN CASE WHEN pg_catalog.jsonb_typeof(p_data -> 'tags') = 'array' THEN ARRAY(SELECT e.e FROM pg_catalog.jsonb_array_elements_text(p_data -> 'tags') WITH ORDINALITY AS e(e, n) ORDER BY e.n) END ELSE ARRAY[]::text[] END,
    p_data ->> 'assignee_id',
    p_data ->> 'project_id',
    pg_catalog.statement_timestamp(),
    pg_catalog.statement_timestamp(),
    pgsync.participant_id()
  )
  ON CONFLICT DO NOTHING;
  IF FOUND THEN
    RETURN 'created';
  END IF;
  -- What triggers were given is over: names below are ours again.
  v_ignored := pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  IF EXISTS (
    SELECT
    FROM public.tasks AS t
    WHERE t.organization_id = pgsync.organization_id()
    AND t.id = p_id
  ) THEN
    RETURN 'exists';
  END IF;
  -- Something else is in the way: a value that is taken or, where the id alone is the key, somebody else's row. Postgres says which. A trigger or
  -- rule says nothing.
  INSERT INTO public.tasks AS t (
    organization_id,
    id,
    title,
    status,
    priority,
    due,
    tags,
    assignee_id,
    project_id,
    created_at,
    updated_at,
    created_by
  )
  VALUES (
    pgsync.organization_id(),
    p_id,
    p_data ->> 'title',
    CASE WHEN p_data ? 'status' THEN p_data ->> 'status' ELSE 'todo' END,
    CASE WHEN p_data ? 'priority' THEN (p_data ->> 'priority')::integer ELSE 0 END,
    (p_data ->> 'due')::date,
    CASE WHEN p_data ? 'tags' THEN CASE WHEN pg_catalog.jsonb_typeof(p_data -> 'tags') = 'array' THEN ARRAY(SELECT e.e FROM pg_catalog.jsonb_array_elements_text(p_data -> 'tags') WITH ORDINALITY AS e(e, n) ORDER BY e.n) END ELSE ARRAY[]::text[] END,
    p_data ->> 'assignee_id',
    p_data ->> 'project_id',
    pg_catalog.statement_timestamp(),
    pg_catalog.statement_timestamp(),
    pgsync.participant_id()
  );
  IF FOUND THEN
    RETURN 'created';
  END IF;
  RETURN pgsync_private.unwritten('public.tasks', 'create', 'task', p_id, true);
END
$function$;

ALTER FUNCTION pgsync_generated.task_create(text, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.task_create(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.task_create(text, jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.task_create(text, jsonb) IS '[pgsync model=tasks hash=7259634622ffeb7d]';

-- function pgsync_generated.task_update(text, jsonb)
-- Updates the given fields of a row of tasks. Returns updated, or missing.
-- Raises: as task_check; PS106 for an id that the key's type does not take; PS410 for a row that a trigger or rule keeps from being
-- written; the table's own constraints.
CREATE OR REPLACE FUNCTION pgsync_generated.task_update(p_id text, p_data jsonb)
  RETURNS text
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
  v_is_locked boolean := false;
BEGIN
  v_ignored := pgsync_generated.task_check(p_data);
  -- Postgres checks a foreign key past row security; a row of another organization has to look exactly like a missing one.
  IF p_data ->> 'project_id' IS NOT NULL AND NOT EXISTS (
    SELECT
    FROM public.projects AS r
    WHERE r.organization_id = pgsync.organization_id()
      AND r.id = p_data ->> 'project_id'
  ) THEN
    RAISE EXCEPTION USING
      ERRCODE = 'foreign_key_violation',
      MESSAGE = pg_catalog.format('%s.%s: no row %s in %s', 'tasks', 'project_id', p_data -> 'project_id', 'projects'),
      HINT = 'Create it first, or in an earlier operation of the same commit.',
      COLUMN = 'project_id',
      TABLE = 'tasks';
  END IF;
  LOOP
    UPDATE public.tasks AS t
    SET
      title = CASE WHEN p_data ? 'title' THEN p_data ->> 'title' ELSE t.title END,
      status = CASE WHEN p_data ? 'status' THEN p_data ->> 'status' ELSE t.status END,
      priority = CASE WHEN p_data ? 'priority' THEN (p_data ->> 'priority')::integer ELSE t.priority END,
      due = CASE WHEN p_data ? 'due' THEN (p_data ->> 'due')::date ELSE t.due END,
      tags = CASE WHEN p_data ? 'tags' THEN CASE WHEN pg_catalog.jsonb_typeof(p_data -> 'tags') = 'array' THEN ARRAY(SELECT e.e FROM pg_catalog.jsonb_array_elements_text(p_data -> 'tags') WITH ORDINALITY AS e(e, n) ORDER BY e.n) END ELSE t.tags END,
      assignee_id = CASE WHEN p_data ? 'assignee_id' THEN p_data ->> 'assignee_id' ELSE t.assignee_id END,
      project_id = CASE WHEN p_data ? 'project_id' THEN p_data ->> 'project_id' ELSE t.project_id END,
      updated_at = pg_catalog.statement_timestamp()
    WHERE t.organization_id = pgsync.organization_id()
      AND t.id = p_id;
    EXIT WHEN FOUND;
    -- No such row, or a trigger or rule keeps it from being written: once it is locked, a second attempt tells which. What triggers were given
    -- is over: names below are ours again.
    v_ignored := pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF v_is_locked OR NOT pgsync_generated.task_lock(p_id, true) THEN
      RETURN pgsync_private.unwritten('public.tasks', 'update', 'task', p_id, v_is_locked);
    END IF;
    v_is_locked := true;
  END LOOP;
  RETURN 'updated';
END
$function$;

ALTER FUNCTION pgsync_generated.task_update(text, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.task_update(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.task_update(text, jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.task_update(text, jsonb) IS '[pgsync model=tasks hash=9e2f8cda4fc82d9f]';

-- function pgsync_generated.task_delete(text)
-- Deletes a row of tasks. Returns deleted, or missing.
-- Raises: PS106 for an id that the key's type does not take; PS410 for a row that a trigger or rule keeps from being deleted; 23503 when other
-- rows refer to it.
CREATE OR REPLACE FUNCTION pgsync_generated.task_delete(p_id text)
  RETURNS text
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
  v_is_locked boolean := false;
BEGIN
  LOOP
    DELETE FROM public.tasks AS t
    WHERE t.organization_id = pgsync.organization_id()
      AND t.id = p_id;
    EXIT WHEN FOUND;
    -- No such row, or a trigger or rule keeps it from being written: once it is locked, a second attempt tells which. What triggers were given
    -- is over: names below are ours again.
    v_ignored := pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF v_is_locked OR NOT pgsync_generated.task_lock(p_id, true) THEN
      RETURN pgsync_private.unwritten('public.tasks', 'delete', 'task', p_id, v_is_locked);
    END IF;
    v_is_locked := true;
  END LOOP;
  RETURN 'deleted';
END
$function$;

ALTER FUNCTION pgsync_generated.task_delete(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.task_delete(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.task_delete(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.task_delete(text) IS '[pgsync model=tasks hash=bc9513ae90118211]';

-- function pgsync_generated.task_lock(text, boolean)
-- Locks a row of tasks until the end of the transaction, against writers and, if p_exclusive, against sharers. False: there is no such row for the caller.
CREATE OR REPLACE FUNCTION pgsync_generated.task_lock(p_id text, p_exclusive boolean)
  RETURNS boolean
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
BEGIN
  IF p_exclusive THEN
    PERFORM
    FROM public.tasks AS t
    WHERE t.organization_id = pgsync.organization_id()
    AND t.id = p_id
    FOR UPDATE;
  ELSE
    PERFORM
    FROM public.tasks AS t
    WHERE t.organization_id = pgsync.organization_id()
    AND t.id = p_id
    FOR SHARE;
  END IF;
  RETURN FOUND;
END
$function$;

ALTER FUNCTION pgsync_generated.task_lock(text, boolean) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.task_lock(text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.task_lock(text, boolean) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.task_lock(text, boolean) IS '[pgsync model=tasks hash=7cdcf3a2b43e435f]';

-- function pgsync_generated.task_texts(text, text[])
-- Values of a row of tasks by field, as their types print them: {"field": text or null, ..}; null when there is no such row for the
-- caller. p_fields null: all fields.
CREATE OR REPLACE FUNCTION pgsync_generated.task_texts(p_id text, p_fields text[])
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
BEGIN
  RETURN (
    SELECT pg_catalog.jsonb_object_agg(v.field, v.value)
    FROM public.tasks AS t
    CROSS JOIN LATERAL (
      VALUES
        ('id', CASE WHEN t.id IS NOT NULL THEN pg_catalog.format('%s', t.id) END),
        ('organizationId', CASE WHEN t.organization_id IS NOT NULL THEN pg_catalog.format('%s', t.organization_id) END),
        ('title', CASE WHEN t.title IS NOT NULL THEN pg_catalog.format('%s', t.title) END),
        ('status', CASE WHEN t.status IS NOT NULL THEN pg_catalog.format('%s', t.status) END),
        ('priority', CASE WHEN t.priority IS NOT NULL THEN pg_catalog.format('%s', t.priority) END),
        ('due', CASE WHEN t.due IS NOT NULL THEN pg_catalog.format('%s', t.due) END),
        ('tags', CASE WHEN t.tags IS NOT NULL THEN pg_catalog.format('%s', t.tags) END),
        ('assignee_id', CASE WHEN t.assignee_id IS NOT NULL THEN pg_catalog.format('%s', t.assignee_id) END),
        ('project_id', CASE WHEN t.project_id IS NOT NULL THEN pg_catalog.format('%s', t.project_id) END),
        ('createdAt', CASE WHEN t.created_at IS NOT NULL THEN pg_catalog.format('%s', t.created_at) END),
        ('updatedAt', CASE WHEN t.updated_at IS NOT NULL THEN pg_catalog.format('%s', t.updated_at) END),
        ('createdBy', CASE WHEN t.created_by IS NOT NULL THEN pg_catalog.format('%s', t.created_by) END)
    ) AS v(field, value)
    WHERE t.organization_id = pgsync.organization_id()
    AND t.id = p_id
      AND (p_fields IS NULL OR v.field = ANY (p_fields))
  );
END
$function$;

ALTER FUNCTION pgsync_generated.task_texts(text, text[]) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.task_texts(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.task_texts(text, text[]) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.task_texts(text, text[]) IS '[pgsync model=tasks hash=567acd960bebdf3e]';

-- function pgsync_generated.task_sees(text)
-- Whether the caller, whose identity has been set, sees a row of tasks: what the policies say, for functions that run as another role.
CREATE OR REPLACE FUNCTION pgsync_generated.task_sees(p_id text)
  RETURNS boolean
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
BEGIN
  RETURN EXISTS (
    SELECT
    FROM public.tasks AS t
    WHERE t.organization_id = pgsync.organization_id()
    AND t.id = p_id
      AND t.organization_id = (SELECT pgsync.organization_id())
      AND (SELECT pgsync.holds_group('org:' || pgsync.organization_id()))
  );
END
$function$;

ALTER FUNCTION pgsync_generated.task_sees(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.task_sees(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.task_sees(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.task_sees(text) IS '[pgsync model=tasks hash=170f176b43a7470a]';

-- function pgsync_generated.task_diagnose(jsonb)
-- Which fields of the data do not convert to their column's type, and why: [{"field", "message"}, ..]. Only runs after an error.
CREATE OR REPLACE FUNCTION pgsync_generated.task_diagnose(p_data jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_problems jsonb := '[]'::jsonb;
BEGIN
  BEGIN
    PERFORM p_data ->> 'title';
  EXCEPTION
    WHEN data_exception THEN
      v_problems := v_problems || pg_catalog.jsonb_build_object('field', 'title', 'message', SQLERRM);
  END;
  BEGIN
    PERFORM p_data ->> 'status';
  EXCEPTION
    WHEN data_exception THEN
      v_problems := v_problems || pg_catalog.jsonb_build_object('field', 'status', 'message', SQLERRM);
  END;
  BEGIN
    PERFORM (p_data ->> 'priority')::integer;
  EXCEPTION
    WHEN data_exception THEN
      v_problems := v_problems || pg_catalog.jsonb_build_object('field', 'priority', 'message', SQLERRM);
  END;
  BEGIN
    PERFORM (p_data ->> 'due')::date;
  EXCEPTION
    WHEN data_exception THEN
      v_problems := v_problems || pg_catalog.jsonb_build_object('field', 'due', 'message', SQLERRM);
  END;
  BEGIN
    PERFORM CASE WHEN pg_catalog.jsonb_typeof(p_data -> 'tags') = 'array' THEN ARRAY(SELECT e.e FROM pg_catalog.jsonb_array_elements_text(p_data -> 'tags') WITH ORDINALITY AS e(e, n) ORDER BY e.n) END;
  EXCEPTION
    WHEN data_exception THEN
      v_problems := v_problems || pg_catalog.jsonb_build_object('field', 'tags', 'message', SQLERRM);
  END;
  BEGIN
    PERFORM p_data ->> 'assignee_id';
  EXCEPTION
    WHEN data_exception THEN
      v_problems := v_problems || pg_catalog.jsonb_build_object('field', 'assignee_id', 'message', SQLERRM);
  END;
  BEGIN
    PERFORM p_data ->> 'project_id';
  EXCEPTION
    WHEN data_exception THEN
      v_problems := v_problems || pg_catalog.jsonb_build_object('field', 'project_id', 'message', SQLERRM);
  END;
  RETURN v_problems;
END
$function$;

ALTER FUNCTION pgsync_generated.task_diagnose(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.task_diagnose(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.task_diagnose(jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.task_diagnose(jsonb) IS '[pgsync model=tasks hash=55040449df79e326]';

-- function pgsync_generated.task_record()
-- Trigger, after every change of a row of tasks by anybody: writes it to the change log, in the same transaction.
-- Made for the columns id text, organization_id text, title text, status text, priority integer, due date, tags text[], assignee_id text, project_id text, created_at timestamp with time zone, updated_at timestamp with time zone, created_by text.
-- When somebody has dropped, renamed or retyped one of them by hand, his writes go on: fields that cannot be compared any more count as changed,
-- and where nobody can say which row it was or whose, all rows count as changed. Other errors do not occur in the guarded block, which writes
-- nothing and so costs no transaction id.
-- SECURITY DEFINER: any role may write the table, only we write the change log.
CREATE OR REPLACE FUNCTION pgsync_generated.task_record()
  RETURNS trigger
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
  v_commit text := pgsync_private.current_commit();
  v_actor_kind text := CASE WHEN v_commit IS NOT NULL THEN pg_catalog.current_setting('pgsync.participant_kind', true) END;
  v_actor_id text := CASE WHEN v_commit IS NOT NULL THEN pg_catalog.current_setting('pgsync.participant_id', true) END;
  v_role text := pgsync_private.role_name();
  v_is_same boolean := false;
  v_fields text[];
  v_old_id text;
  v_old_tenant text;
  v_old_groups text[];
  v_new_id text;
  v_new_tenant text;
  v_new_groups text[];
  v_old jsonb;
  v_new jsonb;
BEGIN
  BEGIN
    IF TG_OP = 'UPDATE' THEN
      IF NEW.organization_id IS NOT DISTINCT FROM OLD.organization_id AND NEW.id = OLD.id THEN
        v_is_same := true;
        v_fields := pg_catalog.array_remove(
          ARRAY[
            CASE WHEN NEW.title IS DISTINCT FROM OLD.title THEN 'title' END,
            CASE WHEN NEW.status IS DISTINCT FROM OLD.status THEN 'status' END,
            CASE WHEN NEW.priority IS DISTINCT FROM OLD.priority THEN 'priority' END,
            CASE WHEN NEW.due IS DISTINCT FROM OLD.due THEN 'due' END,
            CASE WHEN NEW.tags IS DISTINCT FROM OLD.tags THEN 'tags' END,
            CASE WHEN NEW.assignee_id IS DISTINCT FROM OLD.assignee_id THEN 'assignee_id' END,
            CASE WHEN NEW.project_id IS DISTINCT FROM OLD.project_id THEN 'project_id' END,
            CASE WHEN NEW.created_at IS DISTINCT FROM OLD.created_at THEN 'createdAt' END,
            CASE WHEN NEW.created_by IS DISTINCT FROM OLD.created_by THEN 'createdBy' END
          ]::text[],
          NULL);
        v_new_tenant := NEW.organization_id;
        v_new_id := NEW.id;
      END IF;
    END IF;
    IF NOT v_is_same AND TG_OP <> 'INSERT' THEN
      v_old_id := OLD.id;
      v_old_tenant := OLD.organization_id;
    END IF;
    IF NOT v_is_same AND TG_OP <> 'DELETE' THEN
      v_new_id := NEW.id;
      v_new_tenant := NEW.organization_id;
    END IF;
  EXCEPTION WHEN syntax_error_or_access_rule_violation THEN -- no such column, or not of the type that this session has met it with
    v_old := CASE WHEN TG_OP <> 'INSERT' THEN pg_catalog.to_jsonb(OLD) END;
    v_new := CASE WHEN TG_OP <> 'DELETE' THEN pg_catalog.to_jsonb(NEW) END;
    IF NOT COALESCE(v_new, v_old) ?& ARRAY['id', 'organization_id'] THEN
      INSERT INTO pgsync_private.change (model, row_id, op, server_tx_id, role_name)
      VALUES ('task', '', 'T', v_commit, v_role);
      RETURN NULL;
    END IF;
    v_old_id := v_old ->> 'id';
    v_new_id := v_new ->> 'id';
    v_old_tenant := v_old ->> 'organization_id';
    v_new_tenant := v_new ->> 'organization_id';
    v_is_same := COALESCE((v_new_tenant, v_new_id) IS NOT DISTINCT FROM (v_old_tenant, v_old_id), false);
    IF v_is_same THEN
      v_fields := pgsync_private.changed_fields(v_old, v_new, '[["title", "title"], ["status", "status"], ["priority", "priority"], ["due", "due"], ["tags", "tags"], ["assignee_id", "assignee_id"], ["project_id", "project_id"], ["created_at", "createdAt"], ["created_by", "createdBy"]]');
    END IF;
  END;

  -- Whoever commits with a premise on a whole group waits for the writers of the organization that are under way, and they for him.
  v_ignored := pg_catalog.pg_advisory_xact_lock_shared(
    pgsync_private.organization_lock(CASE WHEN TG_OP = 'DELETE' THEN v_old_tenant ELSE v_new_tenant END));
  IF v_is_same THEN
    INSERT INTO pgsync_private.change (organization_id, model, row_id, op, fields, sync_groups, server_tx_id, actor_kind, actor_id, role_name)
    VALUES (v_new_tenant, 'task', v_new_id, 'U', v_fields, v_new_groups, v_commit, v_actor_kind, v_actor_id, v_role);
    RETURN NULL;
  END IF;
  IF TG_OP <> 'INSERT' THEN
    INSERT INTO pgsync_private.change (organization_id, model, row_id, op, sync_groups, server_tx_id, actor_kind, actor_id, role_name)
    VALUES (v_old_tenant, 'task', v_old_id, 'D', v_old_groups, v_commit, v_actor_kind, v_actor_id, v_role);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO pgsync_private.change (organization_id, model, row_id, op, sync_groups, server_tx_id, actor_kind, actor_id, role_name)
    VALUES (v_new_tenant, 'task', v_new_id, 'I', v_new_groups, v_commit, v_actor_kind, v_actor_id, v_role);
  END IF;
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_generated.task_record() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.task_record() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_generated.task_record() IS '[pgsync model=tasks hash=d5ccd47200a44d12]';


-- ===== locks =====
-- All at once, before the first of them is needed: nobody waits for us while we wait for somebody else's table.
LOCK TABLE public.comments, public.projects, public.tasks IN ACCESS EXCLUSIVE MODE;


-- ===== references that the schema no longer has =====
-- Those that pgsync made on tables that it made; their comments say so. psql runs each statement that this selects.
SELECT pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::pg_catalog.regclass, c.conname)
FROM pg_catalog.pg_constraint AS c
JOIN (
  VALUES
    ('public.comments', ARRAY['comments_task_id_fkey']::text[]),
    ('public.projects', ARRAY[]::text[]),
    ('public.tasks', ARRAY['tasks_project_id_fkey']::text[])
) AS w(name, wanted)
  ON c.conrelid = pg_catalog.to_regclass(w.name)
WHERE c.contype = 'f'
  AND c.conname <> ALL (w.wanted)
  AND pg_catalog.obj_description(c.oid, 'pg_constraint') LIKE '[pgsync] %'
  AND pg_catalog.obj_description(c.conrelid, 'pg_class') LIKE '[pgsync model=%'
ORDER BY 1
\gexec


-- ===== comments: on the table =====

-- row_security public.comments (lock: ACCESS EXCLUSIVE, reads no row)
-- Who may see and write rows of comments through pgsync. Restrictive policies bind the pgsync roles only.
-- Row security off, or on only since pgsync came: the permissive policy for everybody keeps what every other role had.
-- Row security of the table's own: the permissive policy lets the pgsync roles in, next to the policies that were there.
DO $public$
BEGIN
  IF EXISTS (
    SELECT
    FROM pg_catalog.pg_class AS c
    WHERE c.oid = 'public.comments'::pg_catalog.regclass
      AND c.relrowsecurity
  ) AND NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_policy AS p
    WHERE p.polrelid = 'public.comments'::pg_catalog.regclass
      AND p.polname = 'pgsync_public'
      AND p.polroles = '{0}'
  ) THEN
    DROP POLICY IF EXISTS pgsync_public ON public.comments;
    CREATE POLICY pgsync_public ON public.comments
      AS PERMISSIVE
      FOR ALL
      TO pgsync_writer, pgsync_gateway
      USING (true)
      WITH CHECK (true);
  ELSE
    DROP POLICY IF EXISTS pgsync_public ON public.comments;
    CREATE POLICY pgsync_public ON public.comments
      AS PERMISSIVE
      FOR ALL
      TO PUBLIC
      USING (true)
      WITH CHECK (true);
    COMMENT ON POLICY pgsync_public ON public.comments IS
      'Row security came on with pgsync: this keeps what every other role could do. While it is here, other permissive policies narrow nothing.';
  END IF;
END
$public$;
DROP POLICY IF EXISTS pgsync_select ON public.comments;
CREATE POLICY pgsync_select ON public.comments
  AS RESTRICTIVE
  FOR SELECT
  TO pgsync_gateway
  USING (
    organization_id = (SELECT pgsync.organization_id())
    AND (SELECT pgsync.holds_group('org:' || pgsync.organization_id()))
    AND (((NOT private) OR (author_id = (SELECT pgsync.participant_id()))))
  );
DROP POLICY IF EXISTS pgsync_read_grant ON public.comments;
CREATE POLICY pgsync_read_grant ON public.comments
  AS RESTRICTIVE
  FOR SELECT
  TO pgsync_gateway
  USING ((SELECT pgsync.may_read('comment')));
-- The write functions find what they change by the two policies below. They may make a row that its maker cannot read, such as the first
-- row of a new group: Postgres asks this policy about new rows too, so it asks for no more than the organization.
DROP POLICY IF EXISTS pgsync_select_writer ON public.comments;
CREATE POLICY pgsync_select_writer ON public.comments
  AS RESTRICTIVE
  FOR SELECT
  TO pgsync_writer
  USING (organization_id = (SELECT pgsync.organization_id()));
DROP POLICY IF EXISTS pgsync_insert ON public.comments;
CREATE POLICY pgsync_insert ON public.comments
  AS RESTRICTIVE
  FOR INSERT
  TO pgsync_writer, pgsync_gateway
  WITH CHECK (organization_id = (SELECT pgsync.organization_id()));
DROP POLICY IF EXISTS pgsync_update ON public.comments;
CREATE POLICY pgsync_update ON public.comments
  AS RESTRICTIVE
  FOR UPDATE
  TO pgsync_writer, pgsync_gateway
  USING (
    organization_id = (SELECT pgsync.organization_id())
    AND (SELECT pgsync.holds_group('org:' || pgsync.organization_id()))
    AND (((NOT private) OR (author_id = (SELECT pgsync.participant_id()))))
  )
  WITH CHECK (organization_id = (SELECT pgsync.organization_id()));
DROP POLICY IF EXISTS pgsync_delete ON public.comments;
CREATE POLICY pgsync_delete ON public.comments
  AS RESTRICTIVE
  FOR DELETE
  TO pgsync_writer, pgsync_gateway
  USING (
    organization_id = (SELECT pgsync.organization_id())
    AND (SELECT pgsync.holds_group('org:' || pgsync.organization_id()))
    AND (((NOT private) OR (author_id = (SELECT pgsync.participant_id()))))
  );
ALTER TABLE public.comments ENABLE ROW LEVEL SECURITY;

-- triggers public.comments (lock: ACCESS EXCLUSIVE, reads no row)
-- What every write of comments does, whoever writes: direct writes name their role in the log, rows keep their organization, every change is recorded.
-- A write is a commit's when its settings say so and its role may commit at all: anybody can set them.
-- ENABLE ALWAYS: also for a session with session_replication_role = replica, whose changes are in the log like all others.
CREATE OR REPLACE TRIGGER pgsync_10_announce
  BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.comments
  FOR EACH STATEMENT
  WHEN (
    COALESCE(pg_catalog.current_setting('pgsync.commit', true), '') = ''
    OR CASE COALESCE(NULLIF(pg_catalog.current_setting('role'), 'none'), SESSION_USER)
      WHEN 'pgsync_gateway' THEN false
      ELSE NOT pg_catalog.pg_has_role(
        COALESCE(NULLIF(pg_catalog.current_setting('role'), 'none'), SESSION_USER)::pg_catalog.name, 'pgsync_gateway', 'USAGE')
    END
  )
  EXECUTE FUNCTION pgsync_private.announce_direct_write();
-- Whatever others have on the table runs in a commit with the search_path of its owner, not with ours. Built, because only the catalog has that.
DO $search_path$
BEGIN
  EXECUTE pg_catalog.format(
    'CREATE OR REPLACE TRIGGER pgsync_11_follow_search_path
       BEFORE INSERT OR UPDATE OR DELETE ON %s
       FOR EACH STATEMENT
       WHEN (CURRENT_USER = ''pgsync_writer'' AND pg_catalog.pg_trigger_depth() = 0)
       EXECUTE FUNCTION pgsync_private.follow_search_path(%L)',
    'public.comments'::pg_catalog.regclass,
    pgsync_private.search_path_of('public.comments'::pg_catalog.regclass));
END
$search_path$;
CREATE OR REPLACE TRIGGER pgsync_20_keep_tenant
  BEFORE UPDATE ON public.comments
  FOR EACH ROW
  WHEN (OLD.organization_id IS DISTINCT FROM NEW.organization_id)
  EXECUTE FUNCTION pgsync_private.keep_tenant('organization_id');
DO $claims$
BEGIN
  IF EXISTS (
    SELECT
    FROM pg_catalog.pg_trigger AS t
    WHERE t.tgrelid = 'public.comments'::pg_catalog.regclass
      AND t.tgname = 'pgsync_30_keep_claims'
  ) THEN
    DROP TRIGGER pgsync_30_keep_claims ON public.comments;
    DROP TRIGGER pgsync_31_keep_claims ON public.comments;
  END IF;
END
$claims$;
CREATE OR REPLACE TRIGGER pgsync_90_record
  AFTER INSERT OR UPDATE OR DELETE ON public.comments
  FOR EACH ROW
  EXECUTE FUNCTION pgsync_generated.comment_record();
CREATE OR REPLACE TRIGGER pgsync_91_record_truncate
  AFTER TRUNCATE ON public.comments
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgsync_private.record_truncate('comment');
ALTER TABLE public.comments ENABLE ALWAYS TRIGGER pgsync_10_announce;
ALTER TABLE public.comments ENABLE ALWAYS TRIGGER pgsync_20_keep_tenant;
ALTER TABLE public.comments ENABLE ALWAYS TRIGGER pgsync_90_record;
ALTER TABLE public.comments ENABLE ALWAYS TRIGGER pgsync_91_record_truncate;

-- grants public.comments
-- The gateway reads rows of comments, the write functions change them; both under row security.
DO $usage$
BEGIN
  IF NOT pg_catalog.has_schema_privilege('pgsync_writer', 'public', 'USAGE') OR NOT pg_catalog.has_schema_privilege('pgsync_gateway', 'public', 'USAGE') THEN
    GRANT USAGE ON SCHEMA public TO pgsync_writer, pgsync_gateway;
  END IF;
END
$usage$;
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.comments TO pgsync_writer;
GRANT SELECT ON TABLE public.comments TO pgsync_gateway;

-- replication public.comments (lock: ACCESS EXCLUSIVE, reads no row)
-- Changes of comments go into the log with the whole old row, because visibility depends on columns that can change.
-- What is there already stays if it says at least that much; what it was is kept for the day when pgsync goes.
DO $replica_identity$
DECLARE
  v_full boolean := true;
  v_kind "char" := (SELECT c.relreplident FROM pg_catalog.pg_class AS c WHERE c.oid = 'public.comments'::pg_catalog.regclass);
BEGIN
  IF v_full AND v_kind = 'f' THEN
    RETURN;
  ELSIF NOT v_full AND (v_kind = 'd' OR v_kind = 'f' AND NOT EXISTS (
    SELECT
    FROM pgsync_private.replica_identity_before AS b
    WHERE b.namespace = 'public'
      AND b.table_name = 'comments'
  )) THEN
    RETURN;
  END IF;
  INSERT INTO pgsync_private.replica_identity_before (namespace, table_name, kind, index_name)
  VALUES (
    'public',
    'comments',
    v_kind,
    (
      SELECT c.relname
      FROM pg_catalog.pg_index AS i
      JOIN pg_catalog.pg_class AS c
        ON c.oid = i.indexrelid
      WHERE i.indrelid = 'public.comments'::pg_catalog.regclass
        AND i.indisreplident
    )
  )
  ON CONFLICT (namespace, table_name) DO NOTHING;
  IF v_full THEN
    ALTER TABLE public.comments REPLICA IDENTITY FULL;
  ELSE
    ALTER TABLE public.comments REPLICA IDENTITY DEFAULT;
  END IF;
END
$replica_identity$;
SELECT pgsync_private.match_partitions('public.comments'::pg_catalog.regclass);
-- Writers that began before the table was published must have ended, or their rows would miss the stream: wait for them.
LOCK TABLE public.comments IN SHARE ROW EXCLUSIVE MODE;
DO $publication$
BEGIN
  IF NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_publication_tables AS t
    WHERE t.pubname = 'pgsync'
      AND t.schemaname = 'public'
      AND t.tablename = 'comments'
  ) THEN
    ALTER PUBLICATION pgsync ADD TABLE public.comments;
  END IF;
END
$publication$;


-- ===== projects: on the table =====

-- row_security public.projects (lock: ACCESS EXCLUSIVE, reads no row)
-- Who may see and write rows of projects through pgsync. Restrictive policies bind the pgsync roles only.
-- Row security off, or on only since pgsync came: the permissive policy for everybody keeps what every other role had.
-- Row security of the table's own: the permissive policy lets the pgsync roles in, next to the policies that were there.
DO $public$
BEGIN
  IF EXISTS (
    SELECT
    FROM pg_catalog.pg_class AS c
    WHERE c.oid = 'public.projects'::pg_catalog.regclass
      AND c.relrowsecurity
  ) AND NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_policy AS p
    WHERE p.polrelid = 'public.projects'::pg_catalog.regclass
      AND p.polname = 'pgsync_public'
      AND p.polroles = '{0}'
  ) THEN
    DROP POLICY IF EXISTS pgsync_public ON public.projects;
    CREATE POLICY pgsync_public ON public.projects
      AS PERMISSIVE
      FOR ALL
      TO pgsync_writer, pgsync_gateway
      USING (true)
      WITH CHECK (true);
  ELSE
    DROP POLICY IF EXISTS pgsync_public ON public.projects;
    CREATE POLICY pgsync_public ON public.projects
      AS PERMISSIVE
      FOR ALL
      TO PUBLIC
      USING (true)
      WITH CHECK (true);
    COMMENT ON POLICY pgsync_public ON public.projects IS
      'Row security came on with pgsync: this keeps what every other role could do. While it is here, other permissive policies narrow nothing.';
  END IF;
END
$public$;
DROP POLICY IF EXISTS pgsync_select ON public.projects;
CREATE POLICY pgsync_select ON public.projects
  AS RESTRICTIVE
  FOR SELECT
  TO pgsync_gateway
  USING (
    organization_id = (SELECT pgsync.organization_id())
    AND (SELECT pgsync.holds_group('org:' || pgsync.organization_id()))
  );
DROP POLICY IF EXISTS pgsync_read_grant ON public.projects;
CREATE POLICY pgsync_read_grant ON public.projects
  AS RESTRICTIVE
  FOR SELECT
  TO pgsync_gateway
  USING ((SELECT pgsync.may_read('project')));
-- The write functions find what they change by the two policies below. They may make a row that its maker cannot read, such as the first
-- row of a new group: Postgres asks this policy about new rows too, so it asks for no more than the organization.
DROP POLICY IF EXISTS pgsync_select_writer ON public.projects;
CREATE POLICY pgsync_select_writer ON public.projects
  AS RESTRICTIVE
  FOR SELECT
  TO pgsync_writer
  USING (organization_id = (SELECT pgsync.organization_id()));
DROP POLICY IF EXISTS pgsync_insert ON public.projects;
CREATE POLICY pgsync_insert ON public.projects
  AS RESTRICTIVE
  FOR INSERT
  TO pgsync_writer, pgsync_gateway
  WITH CHECK (organization_id = (SELECT pgsync.organization_id()));
DROP POLICY IF EXISTS pgsync_update ON public.projects;
CREATE POLICY pgsync_update ON public.projects
  AS RESTRICTIVE
  FOR UPDATE
  TO pgsync_writer, pgsync_gateway
  USING (
    organization_id = (SELECT pgsync.organization_id())
    AND (SELECT pgsync.holds_group('org:' || pgsync.organization_id()))
  )
  WITH CHECK (organization_id = (SELECT pgsync.organization_id()));
DROP POLICY IF EXISTS pgsync_delete ON public.projects;
CREATE POLICY pgsync_delete ON public.projects
  AS RESTRICTIVE
  FOR DELETE
  TO pgsync_writer, pgsync_gateway
  USING (
    organization_id = (SELECT pgsync.organization_id())
    AND (SELECT pgsync.holds_group('org:' || pgsync.organization_id()))
  );
ALTER TABLE public.projects ENABLE ROW LEVEL SECURITY;

-- triggers public.projects (lock: ACCESS EXCLUSIVE, reads no row)
-- What every write of projects does, whoever writes: direct writes name their role in the log, rows keep their organization, every change is recorded.
-- A write is a commit's when its settings say so and its role may commit at all: anybody can set them.
-- ENABLE ALWAYS: also for a session with session_replication_role = replica, whose changes are in the log like all others.
CREATE OR REPLACE TRIGGER pgsync_10_announce
  BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.projects
  FOR EACH STATEMENT
  WHEN (
    COALESCE(pg_catalog.current_setting('pgsync.commit', true), '') = ''
    OR CASE COALESCE(NULLIF(pg_catalog.current_setting('role'), 'none'), SESSION_USER)
      WHEN 'pgsync_gateway' THEN false
      ELSE NOT pg_catalog.pg_has_role(
        COALESCE(NULLIF(pg_catalog.current_setting('role'), 'none'), SESSION_USER)::pg_catalog.name, 'pgsync_gateway', 'USAGE')
    END
  )
  EXECUTE FUNCTION pgsync_private.announce_direct_write();
-- Whatever others have on the table runs in a commit with the search_path of its owner, not with ours. Built, because only the catalog has that.
DO $search_path$
BEGIN
  EXECUTE pg_catalog.format(
    'CREATE OR REPLACE TRIGGER pgsync_11_follow_search_path
       BEFORE INSERT OR UPDATE OR DELETE ON %s
       FOR EACH STATEMENT
       WHEN (CURRENT_USER = ''pgsync_writer'' AND pg_catalog.pg_trigger_depth() = 0)
       EXECUTE FUNCTION pgsync_private.follow_search_path(%L)',
    'public.projects'::pg_catalog.regclass,
    pgsync_private.search_path_of('public.projects'::pg_catalog.regclass));
END
$search_path$;
CREATE OR REPLACE TRIGGER pgsync_20_keep_tenant
  BEFORE UPDATE ON public.projects
  FOR EACH ROW
  WHEN (OLD.organization_id IS DISTINCT FROM NEW.organization_id)
  EXECUTE FUNCTION pgsync_private.keep_tenant('organization_id');
DO $claims$
BEGIN
  IF EXISTS (
    SELECT
    FROM pg_catalog.pg_trigger AS t
    WHERE t.tgrelid = 'public.projects'::pg_catalog.regclass
      AND t.tgname = 'pgsync_30_keep_claims'
  ) THEN
    DROP TRIGGER pgsync_30_keep_claims ON public.projects;
    DROP TRIGGER pgsync_31_keep_claims ON public.projects;
  END IF;
END
$claims$;
CREATE OR REPLACE TRIGGER pgsync_90_record
  AFTER INSERT OR UPDATE OR DELETE ON public.projects
  FOR EACH ROW
  EXECUTE FUNCTION pgsync_generated.project_record();
CREATE OR REPLACE TRIGGER pgsync_91_record_truncate
  AFTER TRUNCATE ON public.projects
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgsync_private.record_truncate('project');
ALTER TABLE public.projects ENABLE ALWAYS TRIGGER pgsync_10_announce;
ALTER TABLE public.projects ENABLE ALWAYS TRIGGER pgsync_20_keep_tenant;
ALTER TABLE public.projects ENABLE ALWAYS TRIGGER pgsync_90_record;
ALTER TABLE public.projects ENABLE ALWAYS TRIGGER pgsync_91_record_truncate;

-- grants public.projects
-- The gateway reads rows of projects, the write functions change them; both under row security.
DO $usage$
BEGIN
  IF NOT pg_catalog.has_schema_privilege('pgsync_writer', 'public', 'USAGE') OR NOT pg_catalog.has_schema_privilege('pgsync_gateway', 'public', 'USAGE') THEN
    GRANT USAGE ON SCHEMA public TO pgsync_writer, pgsync_gateway;
  END IF;
END
$usage$;
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.projects TO pgsync_writer;
GRANT SELECT ON TABLE public.projects TO pgsync_gateway;

-- replication public.projects (lock: ACCESS EXCLUSIVE, reads no row)
-- Changes of projects go into the log with the old key, which holds all that visibility depends on; with the whole old row where the key lacks the organization.
-- What is there already stays if it says at least that much; what it was is kept for the day when pgsync goes.
DO $replica_identity$
DECLARE
  v_full boolean := NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_attribute AS a
      ON a.attrelid = i.indrelid
      AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = 'public.projects'::pg_catalog.regclass
      AND i.indisprimary
      AND a.attname = 'organization_id'
  );
  v_kind "char" := (SELECT c.relreplident FROM pg_catalog.pg_class AS c WHERE c.oid = 'public.projects'::pg_catalog.regclass);
BEGIN
  IF v_full AND v_kind = 'f' THEN
    RETURN;
  ELSIF NOT v_full AND (v_kind = 'd' OR v_kind = 'f' AND NOT EXISTS (
    SELECT
    FROM pgsync_private.replica_identity_before AS b
    WHERE b.namespace = 'public'
      AND b.table_name = 'projects'
  )) THEN
    RETURN;
  END IF;
  INSERT INTO pgsync_private.replica_identity_before (namespace, table_name, kind, index_name)
  VALUES (
    'public',
    'projects',
    v_kind,
    (
      SELECT c.relname
      FROM pg_catalog.pg_index AS i
      JOIN pg_catalog.pg_class AS c
        ON c.oid = i.indexrelid
      WHERE i.indrelid = 'public.projects'::pg_catalog.regclass
        AND i.indisreplident
    )
  )
  ON CONFLICT (namespace, table_name) DO NOTHING;
  IF v_full THEN
    ALTER TABLE public.projects REPLICA IDENTITY FULL;
  ELSE
    ALTER TABLE public.projects REPLICA IDENTITY DEFAULT;
  END IF;
END
$replica_identity$;
SELECT pgsync_private.match_partitions('public.projects'::pg_catalog.regclass);
-- Writers that began before the table was published must have ended, or their rows would miss the stream: wait for them.
LOCK TABLE public.projects IN SHARE ROW EXCLUSIVE MODE;
DO $publication$
BEGIN
  IF NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_publication_tables AS t
    WHERE t.pubname = 'pgsync'
      AND t.schemaname = 'public'
      AND t.tablename = 'projects'
  ) THEN
    ALTER PUBLICATION pgsync ADD TABLE public.projects;
  END IF;
END
$publication$;


-- ===== tasks: on the table =====

-- row_security public.tasks (lock: ACCESS EXCLUSIVE, reads no row)
-- Who may see and write rows of tasks through pgsync. Restrictive policies bind the pgsync roles only.
-- Row security off, or on only since pgsync came: the permissive policy for everybody keeps what every other role had.
-- Row security of the table's own: the permissive policy lets the pgsync roles in, next to the policies that were there.
DO $public$
BEGIN
  IF EXISTS (
    SELECT
    FROM pg_catalog.pg_class AS c
    WHERE c.oid = 'public.tasks'::pg_catalog.regclass
      AND c.relrowsecurity
  ) AND NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_policy AS p
    WHERE p.polrelid = 'public.tasks'::pg_catalog.regclass
      AND p.polname = 'pgsync_public'
      AND p.polroles = '{0}'
  ) THEN
    DROP POLICY IF EXISTS pgsync_public ON public.tasks;
    CREATE POLICY pgsync_public ON public.tasks
      AS PERMISSIVE
      FOR ALL
      TO pgsync_writer, pgsync_gateway
      USING (true)
      WITH CHECK (true);
  ELSE
    DROP POLICY IF EXISTS pgsync_public ON public.tasks;
    CREATE POLICY pgsync_public ON public.tasks
      AS PERMISSIVE
      FOR ALL
      TO PUBLIC
      USING (true)
      WITH CHECK (true);
    COMMENT ON POLICY pgsync_public ON public.tasks IS
      'Row security came on with pgsync: this keeps what every other role could do. While it is here, other permissive policies narrow nothing.';
  END IF;
END
$public$;
DROP POLICY IF EXISTS pgsync_select ON public.tasks;
CREATE POLICY pgsync_select ON public.tasks
  AS RESTRICTIVE
  FOR SELECT
  TO pgsync_gateway
  USING (
    organization_id = (SELECT pgsync.organization_id())
    AND (SELECT pgsync.holds_group('org:' || pgsync.organization_id()))
  );
DROP POLICY IF EXISTS pgsync_read_grant ON public.tasks;
CREATE POLICY pgsync_read_grant ON public.tasks
  AS RESTRICTIVE
  FOR SELECT
  TO pgsync_gateway
  USING ((SELECT pgsync.may_read('task')));
-- The write functions find what they change by the two policies below. They may make a row that its maker cannot read, such as the first
-- row of a new group: Postgres asks this policy about new rows too, so it asks for no more than the organization.
DROP POLICY IF EXISTS pgsync_select_writer ON public.tasks;
CREATE POLICY pgsync_select_writer ON public.tasks
  AS RESTRICTIVE
  FOR SELECT
  TO pgsync_writer
  USING (organization_id = (SELECT pgsync.organization_id()));
DROP POLICY IF EXISTS pgsync_insert ON public.tasks;
CREATE POLICY pgsync_insert ON public.tasks
  AS RESTRICTIVE
  FOR INSERT
  TO pgsync_writer, pgsync_gateway
  WITH CHECK (organization_id = (SELECT pgsync.organization_id()));
DROP POLICY IF EXISTS pgsync_update ON public.tasks;
CREATE POLICY pgsync_update ON public.tasks
  AS RESTRICTIVE
  FOR UPDATE
  TO pgsync_writer, pgsync_gateway
  USING (
    organization_id = (SELECT pgsync.organization_id())
    AND (SELECT pgsync.holds_group('org:' || pgsync.organization_id()))
  )
  WITH CHECK (organization_id = (SELECT pgsync.organization_id()));
DROP POLICY IF EXISTS pgsync_delete ON public.tasks;
CREATE POLICY pgsync_delete ON public.tasks
  AS RESTRICTIVE
  FOR DELETE
  TO pgsync_writer, pgsync_gateway
  USING (
    organization_id = (SELECT pgsync.organization_id())
    AND (SELECT pgsync.holds_group('org:' || pgsync.organization_id()))
  );
ALTER TABLE public.tasks ENABLE ROW LEVEL SECURITY;

-- triggers public.tasks (lock: ACCESS EXCLUSIVE, reads no row)
-- What every write of tasks does, whoever writes: direct writes name their role in the log, rows keep their organization, every change is recorded.
-- A write is a commit's when its settings say so and its role may commit at all: anybody can set them.
-- ENABLE ALWAYS: also for a session with session_replication_role = replica, whose changes are in the log like all others.
CREATE OR REPLACE TRIGGER pgsync_10_announce
  BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.tasks
  FOR EACH STATEMENT
  WHEN (
    COALESCE(pg_catalog.current_setting('pgsync.commit', true), '') = ''
    OR CASE COALESCE(NULLIF(pg_catalog.current_setting('role'), 'none'), SESSION_USER)
      WHEN 'pgsync_gateway' THEN false
      ELSE NOT pg_catalog.pg_has_role(
        COALESCE(NULLIF(pg_catalog.current_setting('role'), 'none'), SESSION_USER)::pg_catalog.name, 'pgsync_gateway', 'USAGE')
    END
  )
  EXECUTE FUNCTION pgsync_private.announce_direct_write();
-- Whatever others have on the table runs in a commit with the search_path of its owner, not with ours. Built, because only the catalog has that.
DO $search_path$
BEGIN
  EXECUTE pg_catalog.format(
    'CREATE OR REPLACE TRIGGER pgsync_11_follow_search_path
       BEFORE INSERT OR UPDATE OR DELETE ON %s
       FOR EACH STATEMENT
       WHEN (CURRENT_USER = ''pgsync_writer'' AND pg_catalog.pg_trigger_depth() = 0)
       EXECUTE FUNCTION pgsync_private.follow_search_path(%L)',
    'public.tasks'::pg_catalog.regclass,
    pgsync_private.search_path_of('public.tasks'::pg_catalog.regclass));
END
$search_path$;
CREATE OR REPLACE TRIGGER pgsync_20_keep_tenant
  BEFORE UPDATE ON public.tasks
  FOR EACH ROW
  WHEN (OLD.organization_id IS DISTINCT FROM NEW.organization_id)
  EXECUTE FUNCTION pgsync_private.keep_tenant('organization_id');
DO $claims$
BEGIN
  IF EXISTS (
    SELECT
    FROM pg_catalog.pg_trigger AS t
    WHERE t.tgrelid = 'public.tasks'::pg_catalog.regclass
      AND t.tgname = 'pgsync_30_keep_claims'
  ) THEN
    DROP TRIGGER pgsync_30_keep_claims ON public.tasks;
    DROP TRIGGER pgsync_31_keep_claims ON public.tasks;
  END IF;
END
$claims$;
CREATE OR REPLACE TRIGGER pgsync_90_record
  AFTER INSERT OR UPDATE OR DELETE ON public.tasks
  FOR EACH ROW
  EXECUTE FUNCTION pgsync_generated.task_record();
CREATE OR REPLACE TRIGGER pgsync_91_record_truncate
  AFTER TRUNCATE ON public.tasks
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgsync_private.record_truncate('task');
ALTER TABLE public.tasks ENABLE ALWAYS TRIGGER pgsync_10_announce;
ALTER TABLE public.tasks ENABLE ALWAYS TRIGGER pgsync_20_keep_tenant;
ALTER TABLE public.tasks ENABLE ALWAYS TRIGGER pgsync_90_record;
ALTER TABLE public.tasks ENABLE ALWAYS TRIGGER pgsync_91_record_truncate;

-- grants public.tasks
-- The gateway reads rows of tasks, the write functions change them; both under row security.
DO $usage$
BEGIN
  IF NOT pg_catalog.has_schema_privilege('pgsync_writer', 'public', 'USAGE') OR NOT pg_catalog.has_schema_privilege('pgsync_gateway', 'public', 'USAGE') THEN
    GRANT USAGE ON SCHEMA public TO pgsync_writer, pgsync_gateway;
  END IF;
END
$usage$;
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.tasks TO pgsync_writer;
GRANT SELECT ON TABLE public.tasks TO pgsync_gateway;

-- replication public.tasks (lock: ACCESS EXCLUSIVE, reads no row)
-- Changes of tasks go into the log with the old key, which holds all that visibility depends on; with the whole old row where the key lacks the organization.
-- What is there already stays if it says at least that much; what it was is kept for the day when pgsync goes.
DO $replica_identity$
DECLARE
  v_full boolean := NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_attribute AS a
      ON a.attrelid = i.indrelid
      AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = 'public.tasks'::pg_catalog.regclass
      AND i.indisprimary
      AND a.attname = 'organization_id'
  );
  v_kind "char" := (SELECT c.relreplident FROM pg_catalog.pg_class AS c WHERE c.oid = 'public.tasks'::pg_catalog.regclass);
BEGIN
  IF v_full AND v_kind = 'f' THEN
    RETURN;
  ELSIF NOT v_full AND (v_kind = 'd' OR v_kind = 'f' AND NOT EXISTS (
    SELECT
    FROM pgsync_private.replica_identity_before AS b
    WHERE b.namespace = 'public'
      AND b.table_name = 'tasks'
  )) THEN
    RETURN;
  END IF;
  INSERT INTO pgsync_private.replica_identity_before (namespace, table_name, kind, index_name)
  VALUES (
    'public',
    'tasks',
    v_kind,
    (
      SELECT c.relname
      FROM pg_catalog.pg_index AS i
      JOIN pg_catalog.pg_class AS c
        ON c.oid = i.indexrelid
      WHERE i.indrelid = 'public.tasks'::pg_catalog.regclass
        AND i.indisreplident
    )
  )
  ON CONFLICT (namespace, table_name) DO NOTHING;
  IF v_full THEN
    ALTER TABLE public.tasks REPLICA IDENTITY FULL;
  ELSE
    ALTER TABLE public.tasks REPLICA IDENTITY DEFAULT;
  END IF;
END
$replica_identity$;
SELECT pgsync_private.match_partitions('public.tasks'::pg_catalog.regclass);
-- Writers that began before the table was published must have ended, or their rows would miss the stream: wait for them.
LOCK TABLE public.tasks IN SHARE ROW EXCLUSIVE MODE;
DO $publication$
BEGIN
  IF NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_publication_tables AS t
    WHERE t.pubname = 'pgsync'
      AND t.schemaname = 'public'
      AND t.tablename = 'tasks'
  ) THEN
    ALTER PUBLICATION pgsync ADD TABLE public.tasks;
  END IF;
END
$publication$;


-- ===== all models =====

-- function pgsync_generated.resolve_model(text)
-- The model that a name means, whatever its spelling (key, typename, table) and case:
-- {name in SQL, name in grants, key, whether clients may write it, conflict modes as JSON or null, the field that archiving sets or null,
-- the table and column of the key if ids are integers, else two nulls}; null when there is none.
CREATE OR REPLACE FUNCTION pgsync_generated.resolve_model(p_model text)
  RETURNS text[]
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN CASE pg_catalog.lower(p_model)
    WHEN 'comment' THEN ARRAY['comment', 'comment', 'comments', 'true', NULL, NULL, NULL, NULL]
    WHEN 'comments' THEN ARRAY['comment', 'comment', 'comments', 'true', NULL, NULL, NULL, NULL]
    WHEN 'project' THEN ARRAY['project', 'project', 'projects', 'true', NULL, 'archived', NULL, NULL]
    WHEN 'projects' THEN ARRAY['project', 'project', 'projects', 'true', NULL, 'archived', NULL, NULL]
    WHEN 'task' THEN ARRAY['task', 'task', 'tasks', 'true', NULL, NULL, NULL, NULL]
    WHEN 'tasks' THEN ARRAY['task', 'task', 'tasks', 'true', NULL, NULL, NULL, NULL]
    END;
END
$function$;

ALTER FUNCTION pgsync_generated.resolve_model(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.resolve_model(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.resolve_model(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.resolve_model(text) IS '[pgsync hash=1475d35538e5fc44]';

-- function pgsync_generated.apply_operation(text, text, text, jsonb)
-- Runs one operation of a commit on its model. Returns created, exists, updated, deleted or missing.
CREATE OR REPLACE FUNCTION pgsync_generated.apply_operation(p_action text, p_model text, p_id text, p_data jsonb)
  RETURNS text
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF p_model = 'comment' THEN
    IF p_action = 'update' THEN
      RETURN pgsync_generated.comment_update(p_id, p_data);
    ELSIF p_action = 'create' THEN
      RETURN pgsync_generated.comment_create(p_id, p_data);
    ELSIF p_action = 'delete' THEN
      RETURN pgsync_generated.comment_delete(p_id);
    END IF;
  END IF;
  IF p_model = 'project' THEN
    IF p_action = 'update' THEN
      RETURN pgsync_generated.project_update(p_id, p_data);
    ELSIF p_action = 'create' THEN
      RETURN pgsync_generated.project_create(p_id, p_data);
    ELSIF p_action = 'delete' THEN
      RETURN pgsync_generated.project_delete(p_id);
    ELSIF p_action = 'archive' THEN
      RETURN pgsync_generated.project_update(p_id, pg_catalog.jsonb_build_object('archived', true));
    ELSIF p_action = 'unarchive' THEN
      RETURN pgsync_generated.project_update(p_id, pg_catalog.jsonb_build_object('archived', false));
    END IF;
  END IF;
  IF p_model = 'task' THEN
    IF p_action = 'update' THEN
      RETURN pgsync_generated.task_update(p_id, p_data);
    ELSIF p_action = 'create' THEN
      RETURN pgsync_generated.task_create(p_id, p_data);
    ELSIF p_action = 'delete' THEN
      RETURN pgsync_generated.task_delete(p_id);
    END IF;
  END IF;
  RAISE EXCEPTION USING
    ERRCODE = 'PS901',
    MESSAGE = pg_catalog.format('no operation %s on model %s', p_action, p_model),
    HINT = 'Push the schema again.';
END
$function$;

ALTER FUNCTION pgsync_generated.apply_operation(text, text, text, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.apply_operation(text, text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.apply_operation(text, text, text, jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.apply_operation(text, text, text, jsonb) IS '[pgsync hash=a77dbeac0e45392b]';

-- function pgsync_generated.lock_row(text, text, boolean)
-- Locks a row of a model until the end of the transaction, against writers and, if p_exclusive, against sharers. False: there is no such row for the caller.
CREATE OR REPLACE FUNCTION pgsync_generated.lock_row(p_model text, p_id text, p_exclusive boolean)
  RETURNS boolean
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF p_model = 'comment' THEN
    RETURN pgsync_generated.comment_lock(p_id, p_exclusive);
  END IF;
  IF p_model = 'project' THEN
    RETURN pgsync_generated.project_lock(p_id, p_exclusive);
  END IF;
  IF p_model = 'task' THEN
    RETURN pgsync_generated.task_lock(p_id, p_exclusive);
  END IF;
  RETURN false;
END
$function$;

ALTER FUNCTION pgsync_generated.lock_row(text, text, boolean) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.lock_row(text, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.lock_row(text, text, boolean) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.lock_row(text, text, boolean) IS '[pgsync hash=c9126eac1bcabd69]';

-- function pgsync_generated.row_texts(text, text, text[])
-- Values of a row of a model by field, as their types print them; null when there is no such row for the caller.
CREATE OR REPLACE FUNCTION pgsync_generated.row_texts(p_model text, p_id text, p_fields text[])
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF p_model = 'comment' THEN
    RETURN pgsync_generated.comment_texts(p_id, p_fields);
  END IF;
  IF p_model = 'project' THEN
    RETURN pgsync_generated.project_texts(p_id, p_fields);
  END IF;
  IF p_model = 'task' THEN
    RETURN pgsync_generated.task_texts(p_id, p_fields);
  END IF;
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_generated.row_texts(text, text, text[]) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.row_texts(text, text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.row_texts(text, text, text[]) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.row_texts(text, text, text[]) IS '[pgsync hash=af1e6e9c73cc4056]';

-- function pgsync_generated.sees_row(text, text)
-- Whether the caller, whose identity has been set, sees a row of a model.
CREATE OR REPLACE FUNCTION pgsync_generated.sees_row(p_model text, p_id text)
  RETURNS boolean
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF p_model = 'comment' THEN
    RETURN pgsync_generated.comment_sees(p_id);
  END IF;
  IF p_model = 'project' THEN
    RETURN pgsync_generated.project_sees(p_id);
  END IF;
  IF p_model = 'task' THEN
    RETURN pgsync_generated.task_sees(p_id);
  END IF;
  RETURN false;
END
$function$;

ALTER FUNCTION pgsync_generated.sees_row(text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.sees_row(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.sees_row(text, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.sees_row(text, text) IS '[pgsync hash=bcaa228ae88f2f63]';

-- function pgsync_generated.seen_as(pgsync_private.change, boolean)
-- How the caller, whose identity has been set, saw the row of a change, as the stream would have told him: B before it and after it, E before
-- or after it only (it left or entered), N neither, ? when that is not known any more. A change of a whole table is told to everybody: B.
-- p_by_grant: of a model that the caller has no grant to read, nothing is told: N.
CREATE OR REPLACE FUNCTION pgsync_generated.seen_as(p_change pgsync_private.change, p_by_grant boolean)
  RETURNS text
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_before boolean;
  v_after boolean;
BEGIN
  IF p_change.model = 'comment' THEN
    IF p_by_grant AND NOT pgsync.may_read('comment') THEN
      RETURN 'N';
    ELSIF p_change.row_id = '' THEN
      RETURN 'B';
    END IF;
    IF p_change.old_row IS NULL AND p_change.new_row IS NULL THEN
      RETURN '?';
    END IF;
    v_after := CASE WHEN p_change.new_row IS NULL THEN false ELSE pgsync_generated.comment_saw(p_change.new_row) END;
    v_before := CASE
      WHEN p_change.old_row IS NOT NULL THEN pgsync_generated.comment_saw(p_change.old_row)
      WHEN p_change.op = 'U' THEN v_after
      ELSE false
    END;
    RETURN CASE
      WHEN v_before AND v_after THEN 'B'
      WHEN v_before OR v_after THEN 'E'
      WHEN v_before IS NULL OR v_after IS NULL THEN '?'
      ELSE 'N'
    END;
  END IF;
  IF p_change.model = 'project' THEN
    IF p_by_grant AND NOT pgsync.may_read('project') THEN
      RETURN 'N';
    ELSIF p_change.row_id = '' THEN
      RETURN 'B';
    END IF;
    RETURN CASE
      WHEN p_change.organization_id = pgsync.organization_id() AND pgsync.holds_group('org:' || p_change.organization_id) THEN 'B'
      ELSE 'N'
    END;
  END IF;
  IF p_change.model = 'task' THEN
    IF p_by_grant AND NOT pgsync.may_read('task') THEN
      RETURN 'N';
    ELSIF p_change.row_id = '' THEN
      RETURN 'B';
    END IF;
    RETURN CASE
      WHEN p_change.organization_id = pgsync.organization_id() AND pgsync.holds_group('org:' || p_change.organization_id) THEN 'B'
      ELSE 'N'
    END;
  END IF;
  RETURN 'N';
END
$function$;

ALTER FUNCTION pgsync_generated.seen_as(pgsync_private.change, boolean) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.seen_as(pgsync_private.change, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.seen_as(pgsync_private.change, boolean) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.seen_as(pgsync_private.change, boolean) IS '[pgsync hash=78efbdd35e5b5d20]';

-- function pgsync_generated.diagnose(text, jsonb)
-- Which fields of the data do not convert to their column's type: [{"field", "message"}, ..].
CREATE OR REPLACE FUNCTION pgsync_generated.diagnose(p_model text, p_data jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF p_model = 'comment' THEN
    RETURN pgsync_generated.comment_diagnose(p_data);
  END IF;
  IF p_model = 'project' THEN
    RETURN pgsync_generated.project_diagnose(p_data);
  END IF;
  IF p_model = 'task' THEN
    RETURN pgsync_generated.task_diagnose(p_data);
  END IF;
  RETURN '[]'::jsonb;
END
$function$;

ALTER FUNCTION pgsync_generated.diagnose(text, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.diagnose(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.diagnose(text, jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.diagnose(text, jsonb) IS '[pgsync hash=2507695d794f8952]';

-- function pgsync_generated.claim_scope(text, text)
-- Whose claims meet on a row of a model: those of the caller's organization, or of everybody (empty) when all organizations share the model.
CREATE OR REPLACE FUNCTION pgsync_generated.claim_scope(p_model text, p_organization text)
  RETURNS text
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN p_organization;
END
$function$;

ALTER FUNCTION pgsync_generated.claim_scope(text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.claim_scope(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.claim_scope(text, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.claim_scope(text, text) IS '[pgsync hash=4e9c95271cce6304]';

-- function pgsync_generated.claims_enforced(text)
-- Whether claims on a model bind direct SQL too.
CREATE OR REPLACE FUNCTION pgsync_generated.claims_enforced(p_model text)
  RETURNS boolean
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN COALESCE(p_model = ANY (ARRAY[]::text[]), false);
END
$function$;

ALTER FUNCTION pgsync_generated.claims_enforced(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.claims_enforced(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.claims_enforced(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.claims_enforced(text) IS '[pgsync hash=16b350b3afed3f72]';

-- function pgsync_generated.claims_preemptible(text)
-- Whether whoever was granted claim.preempt may take claims on a model from their holders.
CREATE OR REPLACE FUNCTION pgsync_generated.claims_preemptible(p_model text)
  RETURNS boolean
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN COALESCE(p_model = ANY (ARRAY[]::text[]), false);
END
$function$;

ALTER FUNCTION pgsync_generated.claims_preemptible(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.claims_preemptible(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.claims_preemptible(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.claims_preemptible(text) IS '[pgsync hash=bb358ded4042ad2b]';

-- function pgsync_generated.edges(text, text)
-- What the memberships of a participant grant it in its organization: the membership's model and row, and the sync group.
-- Every part is found by an index on the organization and whom the row names, where a push made the table.
-- Reads as pgsync_writer, whose row security asks for the organization only, never for groups: so nothing here asks itself.
CREATE OR REPLACE FUNCTION pgsync_generated.edges(p_organization text, p_participant text)
  RETURNS TABLE (model text, row_id text, sync_group text)
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT NULL::text, NULL::text, NULL::text
  WHERE false
$function$;

ALTER FUNCTION pgsync_generated.edges(text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.edges(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.edges(text, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.edges(text, text) IS '[pgsync hash=a6e2c2c937a3d7cc]';

-- function pgsync_generated.edge_kinds()
-- The kinds of the sync groups that memberships can grant.
CREATE OR REPLACE FUNCTION pgsync_generated.edge_kinds()
  RETURNS text[]
  LANGUAGE sql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT ARRAY[]::text[];
$function$;

ALTER FUNCTION pgsync_generated.edge_kinds() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.edge_kinds() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.edge_kinds() TO pgsync_writer;
COMMENT ON FUNCTION pgsync_generated.edge_kinds() IS '[pgsync hash=abf00c1c7b0742f0]';

COMMIT;
