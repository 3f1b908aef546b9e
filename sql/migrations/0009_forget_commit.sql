-- A key may be used again after its 24 hours, also where nobody has emptied its partition since.

GRANT DELETE ON TABLE pgsync_private.commit TO pgsync_writer;
