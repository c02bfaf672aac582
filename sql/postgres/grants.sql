-- What the roles of roles.sql may; run by `postsink db init` and `db upgrade` as postsink_admin, who owns all of it.
-- Nobody has a right on a partition: rows go in and out by their tables.

REVOKE ALL ON epoch, schema_version, delivery, reject, delivery_text,
    delivery_final, reject_text, delivery_attempt, delivery_daily, reply_edge FROM PUBLIC, postsink_writer, postsink_reader;
GRANT INSERT ON delivery, reject, epoch TO postsink_writer;
GRANT SELECT ON epoch TO postsink_writer;
GRANT SELECT ON delivery_text, delivery_final, reject_text, delivery_attempt, delivery_daily, reply_edge TO postsink_reader;
