-- A creator reads the blocked users page by page, the latest first.
CREATE INDEX creator_blocks_newest ON creator_blocks (creator_id, created_at DESC, user_id DESC);
