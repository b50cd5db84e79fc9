ALTER TABLE reservations DROP COLUMN version;
