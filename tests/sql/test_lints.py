"""What an advisor would say of a database with pgsync: the rules are those of Supabase's splinter, in our own words.

Left out are rules about their platform, and those about how a database is used, which say nothing of a new one: indexes
that nobody has used, tables that have grown, slots that nobody reads. `pgsync doctor` looks at such things.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgsync import names
from tests.postgres import Database

LINTS = {
    path.stem: path.read_text(encoding="utf-8") for path in sorted(Path(__file__).with_name("lints").glob("*.sql"))
}
FAULTS = {
    "autovacuum_disabled": "ALTER TABLE pgsync_private.claim SET (autovacuum_enabled = false)",
    "duplicate_index": "CREATE INDEX again ON public.documents (organization_id, position)",
    "extension_in_public": "UPDATE pg_extension SET extnamespace = 'public'::regnamespace",
    "function_search_path_mutable": "ALTER FUNCTION pgsync_private.check_preempt(jsonb, text, text) RESET search_path",
    "invalid_index": "UPDATE pg_index SET indisvalid = false WHERE indrelid = 'pgsync_private.change'::regclass",
    "multiple_permissive_policies": "CREATE POLICY more ON public.documents USING (true)",
    "no_primary_key": "ALTER TABLE pgsync_private.table_state DROP CONSTRAINT table_state_pkey",
    "policy_exists_rls_disabled": "ALTER TABLE public.documents DISABLE ROW LEVEL SECURITY",
    "rls_disabled_where_gateway_reads": "GRANT SELECT (hash) ON pgsync_private.schema_version TO pgsync_gateway",
    "rls_enabled_no_policy": "ALTER TABLE pgsync_private.claim ENABLE ROW LEVEL SECURITY",
    "rls_policy_always_true": "ALTER POLICY pgsync_delete ON public.documents USING (true)",
    "rls_policy_null_session": "ALTER POLICY pgsync_select ON public.documents"
    " USING ((SELECT pgsync.organization_id()) IS NULL OR organization_id = (SELECT pgsync.organization_id()))",
    "security_definer_function_for_everybody": "GRANT EXECUTE ON FUNCTION pgsync.commit_v1(jsonb, text, jsonb, jsonb)"
    " TO PUBLIC",
    "security_definer_view": "CREATE VIEW public.shown AS SELECT d.id FROM public.documents AS d",
    "session_called_per_row": "ALTER POLICY pgsync_select ON public.documents"
    " USING (organization_id = (SELECT pgsync.organization_id()) AND owner_id = pgsync.participant_id())",
    "unindexed_foreign_keys": "DROP INDEX public.documents_organization_id_workspace_id_idx",
    "unsupported_reg_types": "ALTER TABLE pgsync_private.claim ADD COLUMN checked_by regprocedure",
}
"""Something that each of them is there to find."""


@contextmanager
def quiet(rich: Database) -> Iterator[psycopg.Connection[Any]]:
    """A superuser's transaction that leaves nothing; names are printed with their namespace."""
    with rich.connect(autocommit=False) as connection:
        connection.execute("SET LOCAL search_path = ''")
        yield connection
        connection.rollback()


@pytest.mark.parametrize("lint", LINTS)
def test_a_database_with_everything_has_nothing_to_find(rich: Database, lint: str) -> None:
    with quiet(rich) as connection:
        assert connection.execute(LINTS[lint].encode()).fetchall() == []


@pytest.mark.parametrize("lint", LINTS)
def test_a_fault_is_found(rich: Database, lint: str) -> None:
    with quiet(rich) as connection:
        connection.execute(FAULTS[lint].encode())
        found = connection.execute(LINTS[lint].encode()).fetchall()
    assert found
    assert all(row[1] for row in found)


def test_policies_of_others_are_not_evaluated_for_the_gateway(rich: Database) -> None:
    # What `multiple_permissive_policies` lets pass: the constant true beside them is all that is left in a plan.
    assert rich.execute(
        "SELECT count(*) FROM pg_policies WHERE tablename = 'customers' AND permissive = 'PERMISSIVE'"
    ) == [(2,)]
    with rich.connect(names.GATEWAY) as connection:
        plan = "\n".join(row[0] for row in connection.execute("EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM customers"))
    assert "account_id" in plan
    assert "owner" not in plan.replace("pgsync_owner", "")
