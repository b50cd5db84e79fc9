-- The hold of a stream is changed while it runs; a change that is not newer than this one is a repetition.
ALTER TABLE reservations ADD COLUMN version BIGINT NOT NULL DEFAULT 0 CHECK (version >= 0);
