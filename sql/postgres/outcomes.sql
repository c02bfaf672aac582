-- What `postsink report` asks of a database, before each question. Views alone, so that a reader may ask. Times are
-- seconds; user and domain are the halves of an address. {range} is one of log seconds.
WITH ever AS (                  -- delivery_text
    SELECT floor(extract(epoch FROM logged_at::timestamptz))::bigint AS second, epoch, host, agent, status, reason, sender,
        recipient, message_id, re_message_id, extract(epoch FROM date::timestamptz)::bigint AS date, "from", "to", cc, bcc,
        message_size, subject_size, spam_score, is_list, is_outgoing, headers_cut, delays
    FROM delivery_text
), attempt AS (
    SELECT * FROM ever WHERE {range}
), refusal AS (                 -- reject_text
    SELECT * FROM (
        SELECT floor(extract(epoch FROM logged_at::timestamptz))::bigint AS second, epoch, category FROM reject_text
    ) AS every WHERE {range}
), waited AS (
    SELECT host, queue_id, first_seen_at, recipient, coalesce(original_recipient, '') AS original, count(*) AS deferrals
    FROM delivery_text
    WHERE status = 'deferred' AND coalesce(origin, '') <> 'verify' AND recipient IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5
), outcome AS (                 -- delivery_final, with the number of deferrals
    SELECT * FROM (
        SELECT floor(extract(epoch FROM logged_at::timestamptz))::bigint AS second, substr(logged_at, 1, 13) AS hour,
            status, is_outgoing, is_list, message_size, delay, delays, coalesce(deferrals, 0) AS deferrals,
            substr(sender, 1, 32) AS sender_user, nullif(substr(sender, 34), '') AS sender_domain,
            substr(final.recipient, 1, 32) AS recipient_user, nullif(substr(final.recipient, 34), '') AS recipient_domain
        FROM delivery_final AS final LEFT JOIN waited
            ON (waited.host, waited.queue_id, waited.first_seen_at, waited.recipient, waited.original)
            = (final.host, final.queue_id, final.first_seen_at, final.recipient, coalesce(final.original_recipient, ''))
    ) AS every WHERE {range}
)
