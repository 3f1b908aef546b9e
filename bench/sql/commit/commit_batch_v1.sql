SELECT pgsync.commit_batch_v1(bench.batch(16));
