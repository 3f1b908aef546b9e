-- What a table's replica identity was where pgsync had to change it, so that it can be given back.

CREATE TABLE pgsync_private.replica_identity_before (
  namespace text NOT NULL,
  table_name text NOT NULL,
  -- "char" in quotes is one byte, not character(1).
  -- squawk-ignore ban-char-field
  kind "char" NOT NULL,
  index_name text,
  CONSTRAINT replica_identity_before_pkey PRIMARY KEY (namespace, table_name)
);
ALTER TABLE pgsync_private.replica_identity_before OWNER TO pgsync_owner;
COMMENT ON TABLE pgsync_private.replica_identity_before IS
  'Replica identity that a table had before pgsync changed it (pg_class.relreplident, and the index of kind i).';
