-- Three roles that nobody logs in as; grant them to those who do, such as: GRANT postsink_writer TO _postsink;
-- Run by `postsink db init` and `db upgrade` as whom they connect, who needs CREATEROLE and the database for it. Who has
-- neither has a superuser run it in the database, once: psql -f roles.sql. What is there already is left as it is.
--
--   postsink_writer   the drain: adds rows, and sees none, not even its own; compares keys by their check values
--   postsink_reader   the views; no table (but on Citus, see citus.sql)
--   postsink_admin    owns tables and views: upgrade, index, prune, lookup, forget, reset

DO $$
DECLARE
    wanted text;
    place  text := quote_ident(current_database());
    schema text := quote_ident(current_schema());
BEGIN
    FOREACH wanted IN ARRAY ARRAY['postsink_writer', 'postsink_reader', 'postsink_admin'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE 'CREATE ROLE ' || wanted;
            EXCEPTION WHEN duplicate_object OR unique_violation THEN  -- roles are of all databases: somebody was faster
                NULL;
            END;
        END IF;
        IF NOT has_database_privilege(wanted, current_database(), 'CONNECT') THEN
            EXECUTE format('GRANT CONNECT ON DATABASE %s TO %s', place, wanted);
        END IF;
        IF NOT has_schema_privilege(wanted, current_schema(), 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA %s TO %s', schema, wanted);
        END IF;
    END LOOP;
    FOREACH wanted IN ARRAY ARRAY['postsink_writer', 'postsink_admin'] LOOP
        IF NOT has_database_privilege(wanted, current_database(), 'TEMPORARY') THEN
            EXECUTE format('GRANT TEMPORARY ON DATABASE %s TO %s', place, wanted);
        END IF;
    END LOOP;
    IF NOT has_schema_privilege('postsink_admin', current_schema(), 'CREATE') THEN
        EXECUTE format('GRANT CREATE ON SCHEMA %s TO postsink_admin', schema);
        IF NOT has_schema_privilege('postsink_admin', current_schema(), 'CREATE') THEN  -- it was a warning only
            RAISE insufficient_privilege;
        END IF;
    END IF;
    BEGIN                       -- a superuser is any role; from PostgreSQL 16 on who made a role may not yet be it
        SET LOCAL ROLE postsink_admin;
        SET LOCAL ROLE NONE;
    EXCEPTION WHEN insufficient_privilege THEN
        EXECUTE format('GRANT postsink_admin TO %I', current_user);
    END;
END $$;
