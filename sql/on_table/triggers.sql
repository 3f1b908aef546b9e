-- What every write of {{ key }} does, whoever writes: direct writes name their role in the log, {% if tenant %}rows keep their organization, {% endif %}{% if enforced %}nothing is written through somebody's claim, {% endif %}every change is recorded.
-- A write is a commit's when its settings say so and its role may commit at all: anybody can set them.
-- ENABLE ALWAYS: also for a session with session_replication_role = replica, whose changes are in the log like all others.
CREATE OR REPLACE TRIGGER pgsync_10_announce
  BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {{ table }}
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
    {{ identity_literal }}::pg_catalog.regclass,
    pgsync_private.search_path_of({{ identity_literal }}::pg_catalog.regclass));
END
$search_path$;
{% if tenant %}
CREATE OR REPLACE TRIGGER pgsync_20_keep_tenant
  BEFORE UPDATE ON {{ table }}
  FOR EACH ROW
  WHEN (OLD.{{ tenant }} IS DISTINCT FROM NEW.{{ tenant }})
  EXECUTE FUNCTION pgsync_private.keep_tenant({{ tenant_literal }});
{% else %}
DROP TRIGGER IF EXISTS pgsync_20_keep_tenant ON {{ table }};
{% endif %}
{% if enforced %}
-- Not for session_replication_role = replica: what was decided elsewhere is not refused here.
CREATE OR REPLACE TRIGGER pgsync_30_keep_claims
  AFTER INSERT OR UPDATE OR DELETE ON {{ table }}
  FOR EACH ROW
  WHEN (
    COALESCE(pg_catalog.current_setting('pgsync.commit', true), '') = ''
    OR CASE COALESCE(NULLIF(pg_catalog.current_setting('role'), 'none'), SESSION_USER)
      WHEN 'pgsync_gateway' THEN false
      ELSE NOT pg_catalog.pg_has_role(
        COALESCE(NULLIF(pg_catalog.current_setting('role'), 'none'), SESSION_USER)::pg_catalog.name, 'pgsync_gateway', 'USAGE')
    END
    OR pg_catalog.pg_trigger_depth() > 0
  )
  EXECUTE FUNCTION pgsync_private.keep_claims(
    '{{ name }}', {{ key_literal }}, {{ id_literal }}, {{ tenant_literal }}, {{ fields_literal }}, {{ conflict_literal }});
CREATE OR REPLACE TRIGGER pgsync_31_keep_claims
  BEFORE TRUNCATE ON {{ table }}
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgsync_private.keep_claims_truncate('{{ name }}', {{ key_literal }});
{% else %}
DO $claims$
BEGIN
  IF EXISTS (
    SELECT
    FROM pg_catalog.pg_trigger AS t
    WHERE t.tgrelid = {{ identity_literal }}::pg_catalog.regclass
      AND t.tgname = 'pgsync_30_keep_claims'
  ) THEN
    DROP TRIGGER pgsync_30_keep_claims ON {{ table }};
    DROP TRIGGER pgsync_31_keep_claims ON {{ table }};
  END IF;
END
$claims$;
{% endif %}
CREATE OR REPLACE TRIGGER pgsync_90_record
  AFTER INSERT OR UPDATE OR DELETE ON {{ table }}
  FOR EACH ROW
  EXECUTE FUNCTION pgsync_generated.{{ name }}_record();
CREATE OR REPLACE TRIGGER pgsync_91_record_truncate
  AFTER TRUNCATE ON {{ table }}
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgsync_private.record_truncate('{{ name }}');
ALTER TABLE {{ table }} ENABLE ALWAYS TRIGGER pgsync_10_announce;
{% if tenant %}
ALTER TABLE {{ table }} ENABLE ALWAYS TRIGGER pgsync_20_keep_tenant;
{% endif %}
ALTER TABLE {{ table }} ENABLE ALWAYS TRIGGER pgsync_90_record;
ALTER TABLE {{ table }} ENABLE ALWAYS TRIGGER pgsync_91_record_truncate;
