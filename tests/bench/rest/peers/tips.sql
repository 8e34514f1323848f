-- The tables of the peers: a tip is checked, moves tokens between two wallets, and is noted once for its key.
CREATE SCHEMA peers;
CREATE TABLE peers.wallets (
    user_id uuid PRIMARY KEY,
    balance bigint NOT NULL CHECK (balance >= 0),
    lifetime_spent bigint NOT NULL DEFAULT 0,
    lifetime_earned bigint NOT NULL DEFAULT 0
);
CREATE TABLE peers.tips (
    key text PRIMARY KEY,
    fan_id uuid NOT NULL,
    creator_id uuid NOT NULL,
    tokens bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO peers.wallets (user_id, balance) SELECT id, 1000000000 FROM wallets WHERE id > '00000000-0000-0000-0000-0000000000ff';
