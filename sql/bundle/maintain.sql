SELECT pgsync.maintain_v1();
