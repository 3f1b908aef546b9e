"""Turns a resolved schema into the SQL that lives in the customer's database.

Pure: definition in, text out, the same bytes every time; nothing here talks to a database.
"""

from pgsync.compile.bundle import Bundle, Statement, compile_schema
from pgsync.compile.files import bundle_files

__all__ = ["Bundle", "Statement", "bundle_files", "compile_schema"]
