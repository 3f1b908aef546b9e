-- What follows waits for nobody longer than this.
SET lock_timeout = '5s';
SET statement_timeout = '60s';
