-- Where positions are kept: a hypertable on ts where TimescaleDB is installed, else a plain table.
-- A table that is there already is taken as it is; only an index that the service cannot do without is added.

DO $$
DECLARE
    wanted text;
    level text := current_setting('client_min_messages');
BEGIN
    FOREACH wanted IN ARRAY ARRAY['timescaledb', 'postgis'] LOOP
        IF EXISTS (SELECT FROM pg_extension WHERE extname = wanted) THEN
            CONTINUE;
        ELSIF NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = wanted) THEN
            RAISE NOTICE 'extension % is not available on this server, going on without it', wanted;
        -- Creating it unloaded would end the session, not just the statement. Its loader defines this setting.
        ELSIF wanted = 'timescaledb' AND current_setting('timescaledb.disable_load', true) IS NULL THEN
            RAISE NOTICE 'extension timescaledb is available but not loaded, going on without it: add it to shared_preload_libraries';
        ELSE
            BEGIN
                -- TimescaleDB greets with a page of text.
                PERFORM set_config('client_min_messages', 'error', true);
                EXECUTE format('CREATE EXTENSION IF NOT EXISTS %I', wanted);
                PERFORM set_config('client_min_messages', level, true);
            EXCEPTION WHEN insufficient_privilege THEN
                PERFORM set_config('client_min_messages', level, true);
                RAISE NOTICE 'extension % is available but % may not create it, going on without it: a superuser can, with CREATE EXTENSION %', wanted, current_user, wanted;
            END;
        END IF;
    END LOOP;
END
$$;

DO $$
DECLARE
    found_before boolean := to_regclass('positions') IS NOT NULL;
    timescale_schema text := (
        SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'timescaledb'
    );
    is_hypertable boolean := false;
    missing text;
BEGIN
    CREATE TABLE IF NOT EXISTS positions (
        device_id   text             NOT NULL,
        ts          timestamptz      NOT NULL,
        latitude    double precision,
        longitude   double precision,
        altitude    double precision,
        angle       double precision,
        speed       double precision,
        satellites  smallint,
        priority    smallint,
        codec       text,
        attributes  jsonb            NOT NULL DEFAULT '{}',
        ingested_at timestamptz      NOT NULL DEFAULT now()
    );

    IF found_before THEN
        SELECT string_agg(name, ', ' ORDER BY place) INTO missing
        FROM unnest(ARRAY['device_id', 'ts', 'latitude', 'longitude', 'altitude', 'angle', 'speed', 'satellites',
                          'priority', 'codec', 'attributes']) WITH ORDINALITY AS wanted (name, place)
        WHERE NOT EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = 'positions'::regclass AND attname = name AND NOT attisdropped
        );
        IF missing IS NOT NULL THEN
            RAISE EXCEPTION 'the table positions that is there has no column %: add it, or move that table away', missing;
        END IF;
        RAISE NOTICE 'a table positions is there already and is taken as it is';
    END IF;

    IF timescale_schema IS NULL THEN
        RAISE NOTICE 'TimescaleDB is not installed: positions is a plain table, not a hypertable';
    ELSIF found_before THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM timescaledb_information.hypertables h
                                JOIN pg_class c ON c.oid = $1 AND c.relname = h.hypertable_name
                                JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = h.hypertable_schema)'
            INTO is_hypertable USING to_regclass('positions')::oid;
        IF NOT is_hypertable THEN
            RAISE NOTICE 'positions stays the plain table it is: create_hypertable(''positions'', ''ts'', create_default_indexes => false, migrate_data => true) makes a hypertable of it';
        END IF;
    ELSE
        EXECUTE format(
            'SELECT FROM %I.create_hypertable(''positions'', ''ts'', create_default_indexes => false)', timescale_schema
        );
    END IF;
END
$$;

DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_index i
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = 'positions'::regclass AND a.attname = 'ts' AND i.indpred IS NULL
    ) THEN
        CREATE INDEX IF NOT EXISTS positions_ts_idx ON positions (ts DESC);
    END IF;

    -- One unique index on the two columns, in either direction, serves ON CONFLICT and newest-per-device reads both.
    IF NOT EXISTS (
        SELECT FROM pg_index i
        WHERE i.indrelid = 'positions'::regclass AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
          AND (SELECT array_agg(a.attname ORDER BY a.attname)
               FROM pg_attribute a
               WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[])) = ARRAY['device_id', 'ts']::name[]
    ) THEN
        IF to_regclass('positions_device_ts_idx') IS NULL THEN
            CREATE UNIQUE INDEX positions_device_ts_idx ON positions (device_id, ts DESC);
        ELSE
            -- An earlier deployment gave the name to an index that is not unique.
            CREATE UNIQUE INDEX positions_device_ts_key ON positions (device_id, ts DESC);
        END IF;
    END IF;
END
$$;
