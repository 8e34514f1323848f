-- What creators show of themselves beside their name: a short text and the address of a picture.
ALTER TABLE creators
    ADD COLUMN about text NOT NULL DEFAULT '' CHECK (length(about) <= 500),
    ADD COLUMN picture_url text NOT NULL DEFAULT '' CHECK (length(picture_url) <= 500);
