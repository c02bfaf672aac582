-- On Citus: a row lies on the worker that its key names. Run by `postsink db init --citus` as a superuser, who alone may
-- make roles known to the workers, and again by each `db upgrade`, for the rights: what is there is left as it is.
--
-- * The coordinator asks the workers as whoever asks it, and acts as postsink_admin for who administers: so that role may
--   log in. Give it no password, and let it in on the workers from the coordinator's address alone.
-- * Rows that were there are copied to the workers; then the coordinator's own copy is emptied.
-- * Views do not shield tables, since workers are asked for what lies under them: a reader sees the columns of delivery
--   and reject, too, which hold what the views show. A column that comes later is not seen until it is granted.
-- * epoch and schema_version stay on the coordinator, to which all hosts connect.

DO $$
DECLARE
    part text;
BEGIN
    IF EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'reject'::regclass) THEN
        RETURN;
    END IF;
    ALTER ROLE postsink_admin LOGIN;
    PERFORM create_distributed_table('delivery', 'delivery_key');
    PERFORM create_distributed_table('reject', 'reject_key', colocate_with => 'delivery');
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent IN ('delivery'::regclass, 'reject'::regclass) LOOP
        PERFORM truncate_local_data_after_distributing_table(part::regclass);
    END LOOP;
END $$;

GRANT SELECT (
    logged_at, first_seen_at, date, message_size, delay, spam_score, logged_micros, recipients, subject_size, epoch,
    reply_code, is_list, is_outgoing, is_internal, headers_cut, delivery_key, queue_id, message_id, resent_message_id,
    re_message_id, sender_user, sender_domain, recipient_user, recipient_domain, original_user, original_domain,
    list_user, list_domain, submitter_user, submitter_domain, relay, next_queue_id, parent_queue_id, host, instance,
    agent, status, delays, dsn, reason, relay_kind, origin, sender_kind, "from", "to", cc, bcc, queue_id_plain,
    next_queue_id_plain, parent_queue_id_plain
) ON delivery TO postsink_reader;
GRANT SELECT (
    logged_at, logged_micros, epoch, reply_code, reject_key, sender_user, sender_domain, recipient_user,
    recipient_domain, host, instance, agent, stage, dsn, sender_kind, category
) ON reject TO postsink_reader;
