"""A database with something of everything: models of each kind on tables of ours and of an application's own."""

from __future__ import annotations

from typing import Final

from pgsync.schema import Field, Model, Ref, Schema
from tests.golden.wide import (
    Counter,
    Country,
    Document,
    Folder,
    Membership,
    Person,
    Sample,
    Watch,
    Workspace,
)

BEFORE: Final = """
CREATE TABLE customers (
  account_id integer NOT NULL,
  id text NOT NULL,
  owner text NOT NULL,
  CONSTRAINT customers_pkey PRIMARY KEY (account_id, id)
);
ALTER TABLE customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY owned ON customers USING (owner = CURRENT_USER);
CREATE TABLE orders (
  id text NOT NULL,
  account_id integer NOT NULL,
  customer_id text NOT NULL,
  CONSTRAINT orders_pkey PRIMARY KEY (account_id, id),
  CONSTRAINT orders_customer_id_fkey FOREIGN KEY (account_id, customer_id) REFERENCES customers (account_id, id)
) PARTITION BY LIST (account_id);
CREATE INDEX orders_account_id_customer_id_idx ON orders (account_id, customer_id);
CREATE TABLE orders_rest PARTITION OF orders DEFAULT;
"""
"""What an application has: its own row security, an integer organization, a reference, partitions."""

_BASE: Final = ("createdAt", "updatedAt", "createdBy")


class Customer(Model, tenant="account_id", tenant_type="integer", without=_BASE):
    owner: str


class Order(
    Model, tenant="account_id", tenant_type="integer", without=_BASE, rule="customer_id <> '' OR actor.kind = 'system'"
):
    customer_id: Ref[Customer] = Field()


class Lease(Model, claims="enforced", preempt=True):
    """Claims bind direct SQL, too."""

    title: str


SCHEMA: Final = Schema(
    Country, Workspace, Folder, Document, Sample, Counter, Person, Membership, Watch, Customer, Order, Lease
)
