"""The way of a change from the write-ahead log to a session, one module per step."""
