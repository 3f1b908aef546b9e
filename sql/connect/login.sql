-- In place of the password its SCRAM verifier is sent, so that it is in no log.
ALTER ROLE {{ role }} PASSWORD {{ verifier }};
