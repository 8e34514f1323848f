-- E-mail addresses of users, by which operators find them.

-- Empty until a token of the user names one. 254 is the most that a mailbox has (RFC 5321 §4.5.3.1.3, less its brackets).
ALTER TABLE users ADD COLUMN email text NOT NULL DEFAULT '' CHECK (length(email) <= 254);

-- Addresses are found by their beginning, without regard to case, as names are.
CREATE INDEX users_by_email ON users (lower(email) text_pattern_ops) WHERE email <> '';
