-- A creator reads the blocked users page by page, the latest first. A page is found by ids of its own: a user may be
-- blocked by several creators.
ALTER TABLE creator_blocks ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid();
CREATE UNIQUE INDEX creator_blocks_by_id ON creator_blocks (id);
CREATE INDEX creator_blocks_newest ON creator_blocks (creator_id, created_at DESC, id DESC);
