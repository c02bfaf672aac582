-- Views: the names and forms that people and tools may rely on, equal to the embedded store's, letter by letter.
-- They run with their owner's rights, so that a reader sees them and no table.
-- compat: 1

CREATE VIEW delivery_text AS
SELECT
    replace(delivery_key::text, '-', '') AS id,
    replace(message_id::text, '-', '') AS message_id,
    coalesce(queue_id_plain, replace(queue_id::text, '-', '')) AS queue_id,
    to_char(first_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS first_seen_at,
    to_char(date AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS date,
    CASE WHEN is_outgoing THEN to_char(first_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
         WHEN NOT is_outgoing THEN to_char(date AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END AS sent_at,
    CASE WHEN NOT is_outgoing THEN to_char(first_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
         WHEN is_outgoing AND status = 'sent' THEN to_char((logged_at + logged_micros * interval '1 microsecond') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END AS received_at,
    CASE WHEN sender_kind = 'null' THEN ''
         WHEN sender_user IS NULL THEN NULL
         WHEN sender_domain IS NULL THEN replace(sender_user::text, '-', '')
         ELSE replace(sender_user::text, '-', '') || '@' || replace(sender_domain::text, '-', '') END AS sender,
    CASE WHEN recipient_user IS NULL THEN NULL
         WHEN recipient_domain IS NULL THEN replace(recipient_user::text, '-', '')
         ELSE replace(recipient_user::text, '-', '') || '@' || replace(recipient_domain::text, '-', '') END AS recipient,
    "from",
    "to",
    cc,
    bcc,
    message_size,
    spam_score,
    subject_size,
    is_list::integer AS is_list,
    is_outgoing::integer AS is_outgoing,
    replace(re_message_id::text, '-', '') AS re_message_id,
    status,
    delay,
    delays,
    host,
    instance,
    agent,
    to_char((logged_at + logged_micros * interval '1 microsecond') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS logged_at,
    epoch,
    CASE WHEN original_user IS NULL THEN NULL
         WHEN original_domain IS NULL THEN replace(original_user::text, '-', '')
         ELSE replace(original_user::text, '-', '') || '@' || replace(original_domain::text, '-', '') END AS original_recipient,
    CASE WHEN list_user IS NULL THEN NULL
         WHEN list_domain IS NULL THEN replace(list_user::text, '-', '')
         ELSE replace(list_user::text, '-', '') || '@' || replace(list_domain::text, '-', '') END AS list_recipient,
    sender_kind,
    CASE WHEN submitter_user IS NULL THEN NULL
         WHEN submitter_domain IS NULL THEN replace(submitter_user::text, '-', '')
         ELSE replace(submitter_user::text, '-', '') || '@' || replace(submitter_domain::text, '-', '') END AS submitter,
    replace(resent_message_id::text, '-', '') AS resent_message_id,
    dsn,
    reply_code,
    reason,
    replace(relay::text, '-', '') AS relay,
    relay_kind,
    recipients,
    nullif(split_part(delays, '/', 1), '')::double precision AS delay_before_queue,
    nullif(split_part(delays, '/', 2), '')::double precision AS delay_in_queue,
    nullif(split_part(delays, '/', 3), '')::double precision AS delay_connect,
    nullif(split_part(delays, '/', 4), '')::double precision AS delay_transmit,
    origin,
    coalesce(next_queue_id_plain, replace(next_queue_id::text, '-', '')) AS next_queue_id,
    coalesce(parent_queue_id_plain, replace(parent_queue_id::text, '-', '')) AS parent_queue_id,
    is_internal::integer AS is_internal,
    headers_cut::integer AS headers_cut
FROM delivery;

-- Final outcomes: the last row of each (host, queue_id, first_seen_at, recipient, original_recipient), unless that
-- row only handed the message to another queue of ours. An expired row supersedes its message's deferred rows,
-- a requeued child its parent's; probes are left out.
CREATE VIEW delivery_final AS
WITH known AS (
    SELECT *, coalesce(queue_id_plain, queue_id::text) AS name, coalesce(next_queue_id_plain, next_queue_id::text) AS next,
        coalesce(parent_queue_id_plain, parent_queue_id::text) AS parent
    FROM delivery
), handed AS (                  -- children of content filters: their parents' rows are internal already
    SELECT host, next FROM known WHERE is_internal AND next IS NOT NULL
), requeued AS (                -- messages that go on under another queue id
    SELECT host, parent, first_seen_at FROM known
    WHERE parent IS NOT NULL AND coalesce(origin, '') NOT IN ('bounce', 'forward')
      AND (host, name) NOT IN (SELECT host, next FROM handed)
), expired AS (
    SELECT host, name, first_seen_at FROM known WHERE status IN ('expired', 'force-expired') AND recipient_user IS NULL
), ranked AS (
    SELECT *, row_number() OVER (
        PARTITION BY host, name, first_seen_at, recipient_user, recipient_domain, original_user, original_domain
        ORDER BY logged_at DESC, delay DESC NULLS LAST, CASE status WHEN 'deferred' THEN 1 ELSE 0 END, delivery_key
    ) AS place
    FROM known
    WHERE status NOT IN ('deliverable', 'undeliverable', 'undeliverable-but-not-cached') AND coalesce(origin, '') <> 'verify'
), last AS (
    SELECT delivery_key, logged_at FROM ranked
    WHERE place = 1 AND NOT is_internal
      AND NOT (status = 'deferred' AND (host, name, first_seen_at) IN (SELECT host, name, first_seen_at FROM expired))
      AND NOT (status = 'deferred' AND (host, name, first_seen_at) IN (SELECT host, parent, first_seen_at FROM requeued))
)
SELECT
    replace(delivery_key::text, '-', '') AS id,
    replace(message_id::text, '-', '') AS message_id,
    coalesce(queue_id_plain, replace(queue_id::text, '-', '')) AS queue_id,
    to_char(first_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS first_seen_at,
    to_char(date AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS date,
    CASE WHEN is_outgoing THEN to_char(first_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
         WHEN NOT is_outgoing THEN to_char(date AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END AS sent_at,
    CASE WHEN NOT is_outgoing THEN to_char(first_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
         WHEN is_outgoing AND status = 'sent' THEN to_char((logged_at + logged_micros * interval '1 microsecond') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END AS received_at,
    CASE WHEN sender_kind = 'null' THEN ''
         WHEN sender_user IS NULL THEN NULL
         WHEN sender_domain IS NULL THEN replace(sender_user::text, '-', '')
         ELSE replace(sender_user::text, '-', '') || '@' || replace(sender_domain::text, '-', '') END AS sender,
    CASE WHEN recipient_user IS NULL THEN NULL
         WHEN recipient_domain IS NULL THEN replace(recipient_user::text, '-', '')
         ELSE replace(recipient_user::text, '-', '') || '@' || replace(recipient_domain::text, '-', '') END AS recipient,
    "from",
    "to",
    cc,
    bcc,
    message_size,
    spam_score,
    subject_size,
    is_list::integer AS is_list,
    is_outgoing::integer AS is_outgoing,
    replace(re_message_id::text, '-', '') AS re_message_id,
    status,
    delay,
    delays,
    host,
    instance,
    agent,
    to_char((logged_at + logged_micros * interval '1 microsecond') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS logged_at,
    epoch,
    CASE WHEN original_user IS NULL THEN NULL
         WHEN original_domain IS NULL THEN replace(original_user::text, '-', '')
         ELSE replace(original_user::text, '-', '') || '@' || replace(original_domain::text, '-', '') END AS original_recipient,
    CASE WHEN list_user IS NULL THEN NULL
         WHEN list_domain IS NULL THEN replace(list_user::text, '-', '')
         ELSE replace(list_user::text, '-', '') || '@' || replace(list_domain::text, '-', '') END AS list_recipient,
    sender_kind,
    CASE WHEN submitter_user IS NULL THEN NULL
         WHEN submitter_domain IS NULL THEN replace(submitter_user::text, '-', '')
         ELSE replace(submitter_user::text, '-', '') || '@' || replace(submitter_domain::text, '-', '') END AS submitter,
    replace(resent_message_id::text, '-', '') AS resent_message_id,
    dsn,
    reply_code,
    reason,
    replace(relay::text, '-', '') AS relay,
    relay_kind,
    recipients,
    nullif(split_part(delays, '/', 1), '')::double precision AS delay_before_queue,
    nullif(split_part(delays, '/', 2), '')::double precision AS delay_in_queue,
    nullif(split_part(delays, '/', 3), '')::double precision AS delay_connect,
    nullif(split_part(delays, '/', 4), '')::double precision AS delay_transmit,
    origin,
    coalesce(next_queue_id_plain, replace(next_queue_id::text, '-', '')) AS next_queue_id,
    coalesce(parent_queue_id_plain, replace(parent_queue_id::text, '-', '')) AS parent_queue_id,
    is_internal::integer AS is_internal,
    headers_cut::integer AS headers_cut
FROM delivery WHERE (delivery_key, logged_at) IN (SELECT delivery_key, logged_at FROM last);

CREATE VIEW reject_text AS
SELECT
    to_char((logged_at + logged_micros * interval '1 microsecond') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS logged_at,
    host,
    instance,
    agent,
    stage,
    reply_code,
    dsn,
    CASE WHEN sender_kind = 'null' THEN ''
         WHEN sender_user IS NULL THEN NULL
         WHEN sender_domain IS NULL THEN replace(sender_user::text, '-', '')
         ELSE replace(sender_user::text, '-', '') || '@' || replace(sender_domain::text, '-', '') END AS sender,
    CASE WHEN recipient_user IS NULL THEN NULL
         WHEN recipient_domain IS NULL THEN replace(recipient_user::text, '-', '')
         ELSE replace(recipient_user::text, '-', '') || '@' || replace(recipient_domain::text, '-', '') END AS recipient,
    category,
    epoch,
    replace(reject_key::text, '-', '') AS id
FROM reject;

-- For use.
CREATE VIEW delivery_attempt AS
SELECT delivery_text.*, row_number() OVER (
    PARTITION BY host, queue_id, first_seen_at, recipient, original_recipient ORDER BY logged_at, id
) AS attempt
FROM delivery_text WHERE recipient IS NOT NULL;

CREATE VIEW delivery_daily AS
SELECT (logged_at AT TIME ZONE 'UTC')::date AS day, is_outgoing::integer AS is_outgoing,
    replace(sender_domain::text, '-', '') AS sender_domain, replace(recipient_domain::text, '-', '') AS recipient_domain,
    status, count(*) AS deliveries, sum(message_size) AS bytes, avg(delay) AS mean_delay
FROM delivery WHERE NOT is_internal GROUP BY 1, 2, 3, 4, 5;

CREATE VIEW reply_edge AS
SELECT DISTINCT replace(answer.message_id::text, '-', '') AS message_id,
    replace(answer.re_message_id::text, '-', '') AS re_message_id,
    replace(answer.sender_user::text, '-', '') || '@' || replace(answer.sender_domain::text, '-', '') AS sender,
    replace(asked.sender_user::text, '-', '') || '@' || replace(asked.sender_domain::text, '-', '') AS re_sender,
    answer.date - asked.date AS latency
FROM delivery AS answer JOIN delivery AS asked ON asked.message_id = answer.re_message_id
WHERE answer.sender_user IS NOT NULL AND asked.sender_user IS NOT NULL;

COMMENT ON VIEW delivery_text IS 'Each delivery attempt as text, with the columns of docs/columns.md.';
COMMENT ON VIEW delivery_final IS 'Final outcomes: what became of each message for each recipient. Columns as delivery_text.';
COMMENT ON VIEW reject_text IS 'Refusals as text, with the columns of docs/columns.md.';
COMMENT ON VIEW delivery_attempt IS 'delivery_text with the number of the attempt for its recipient, from 1.';
COMMENT ON VIEW delivery_daily IS 'Deliveries by UTC day, direction, domains and status; hand-overs to our own queues left out.';
COMMENT ON VIEW reply_edge IS 'Which message answers which, whose they are, and how long the answer took.';
