-- Three roles that nobody logs in as; grant them to those who do, such as: GRANT postsink_writer TO _postsink;
-- Run by `postsink db init` and `db upgrade` as database_admin, who must own the tables, and may make roles once.
--
--   postsink_writer   the drain: adds rows, and sees no row, not even its own; compares keys by their check values
--   postsink_reader   the views; no table. (On Citus views do not shield tables: see citus.sql)
--   postsink_admin    upgrade, prune, lookup, forget

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['postsink_writer', 'postsink_reader', 'postsink_admin'] LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO postsink_writer', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO postsink_writer, postsink_reader', current_database());
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO postsink_writer, postsink_reader', current_schema());
END $$;

REVOKE ALL ON epoch, delivery, delivery_default, reject, reject_default FROM PUBLIC;
GRANT INSERT ON delivery, reject, epoch TO postsink_writer;
GRANT SELECT ON epoch TO postsink_writer;
GRANT SELECT ON schema_version TO postsink_writer;
GRANT SELECT ON delivery_text, delivery_final, reject_text, delivery_attempt, delivery_daily, reply_edge TO postsink_reader;
GRANT ALL ON epoch, delivery, reject, schema_version TO postsink_admin;
