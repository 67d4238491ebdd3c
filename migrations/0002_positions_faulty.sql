-- Positions that somebody marked as wrong: kept, but left out of what maps show.
ALTER TABLE positions ADD COLUMN IF NOT EXISTS faulty boolean NOT NULL DEFAULT false;
