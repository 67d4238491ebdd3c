-- Why a position is faulty: the rule that found it so, or what an operator wrote. NULL costs no row a rewrite.
ALTER TABLE positions ADD COLUMN IF NOT EXISTS faulty_reason text;

-- What is newest is decided by the smaller of ts and ingested_at, which a table of other hands may lack.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'positions'::regclass AND attname = 'ingested_at' AND NOT attisdropped
    ) THEN
        ALTER TABLE positions ADD COLUMN ingested_at timestamptz;
        ALTER TABLE positions ALTER COLUMN ingested_at SET DEFAULT now();
    END IF;
END
$$;

-- Earlier releases stored what was ahead of its time as if nothing were wrong. What still is gets marked: the index on
-- ts finds these few rows.
UPDATE positions SET faulty = true, faulty_reason = 'ahead' WHERE ts > now() + interval '5 minutes' AND NOT faulty;
