"""The audit trail: what happened to a row, with a key or by a person, and whether the record of it was changed."""
