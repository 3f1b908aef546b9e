-- What runs outside of the transaction waits for nobody longer than this either.
SET lock_timeout = {{ lock_timeout }};
SET statement_timeout = {{ statement_timeout }};
SET search_path = '';
SET client_min_messages = 'warning';
