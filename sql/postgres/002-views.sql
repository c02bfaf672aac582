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
-- a requeued child its parent's; probes are left out. NOT EXISTS, since NOT IN is quadratic beyond work_mem.
CREATE VIEW delivery_final AS
WITH known AS (
    SELECT *, coalesce(queue_id_plain, queue_id::text) AS name, coalesce(next_queue_id_plain, next_queue_id::text) AS next,
        coalesce(parent_queue_id_plain, parent_queue_id::text) AS parent
    FROM delivery
), handed AS (                  -- children of content filters: their parents' rows are internal already
    SELECT DISTINCT host, next FROM known WHERE is_internal AND next IS NOT NULL
), requeued AS (                -- messages that go on under another queue id
    SELECT DISTINCT host, parent, first_seen_at FROM known
    WHERE parent IS NOT NULL AND coalesce(origin, '') NOT IN ('bounce', 'forward')
      AND NOT EXISTS (SELECT FROM handed WHERE (handed.host, handed.next) = (known.host, known.name))
), expired AS (
    SELECT DISTINCT host, name, first_seen_at FROM known
    WHERE status IN ('expired', 'force-expired') AND recipient_user IS NULL
), ranked AS (
    SELECT delivery_key, host, name, first_seen_at, status, is_internal, row_number() OVER (
        PARTITION BY host, name, first_seen_at, recipient_user, recipient_domain, original_user, original_domain
        ORDER BY logged_at DESC, delay DESC NULLS LAST, CASE status WHEN 'deferred' THEN 1 ELSE 0 END, delivery_key
    ) AS place
    FROM known
    WHERE status NOT IN ('deliverable', 'undeliverable', 'undeliverable-but-not-cached') AND coalesce(origin, '') <> 'verify'
), last AS (
    SELECT delivery_key FROM ranked
    WHERE place = 1 AND NOT is_internal
      AND NOT EXISTS (SELECT FROM expired WHERE ranked.status = 'deferred'
          AND (expired.host, expired.name, expired.first_seen_at) = (ranked.host, ranked.name, ranked.first_seen_at))
      AND NOT EXISTS (SELECT FROM requeued WHERE ranked.status = 'deferred'
          AND (requeued.host, requeued.parent, requeued.first_seen_at) = (ranked.host, ranked.name, ranked.first_seen_at))
)
SELECT * FROM delivery_text WHERE id IN (SELECT replace(delivery_key::text, '-', '') FROM last);

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

-- For use: what this dialect has beyond the embedded store's.

CREATE VIEW delivery_attempt AS
SELECT delivery_text.*, row_number() OVER (
    PARTITION BY host, queue_id, first_seen_at, recipient, original_recipient ORDER BY logged_at, id
) AS attempt
FROM delivery_text
WHERE recipient IS NOT NULL AND status NOT IN ('deliverable', 'undeliverable', 'undeliverable-but-not-cached')
  AND coalesce(origin, '') <> 'verify';

CREATE VIEW delivery_daily AS
SELECT (logged_at AT TIME ZONE 'UTC')::date AS day, is_outgoing::integer AS is_outgoing,
    replace(sender_domain::text, '-', '') AS sender_domain, replace(recipient_domain::text, '-', '') AS recipient_domain,
    status, count(*) AS deliveries, sum(message_size)::bigint AS bytes, avg(delay) AS mean_delay
FROM delivery
WHERE NOT is_internal AND status NOT IN ('deliverable', 'undeliverable', 'undeliverable-but-not-cached')
  AND coalesce(origin, '') <> 'verify'
GROUP BY 1, 2, 3, 4, 5;

-- A message has many rows, of recipients, retries and queues, and not all of them know its headers: it is counted once.
CREATE VIEW reply_edge AS
WITH message AS (
    SELECT message_id, sender_user, sender_domain, min(date) AS date
    FROM delivery WHERE message_id IS NOT NULL AND sender_user IS NOT NULL
    GROUP BY message_id, sender_user, sender_domain
), answer AS (
    SELECT message_id, sender_user, sender_domain, re_message_id, min(date) AS date
    FROM delivery WHERE message_id IS NOT NULL AND sender_user IS NOT NULL AND re_message_id IS NOT NULL
    GROUP BY message_id, sender_user, sender_domain, re_message_id
)
SELECT
    replace(answer.message_id::text, '-', '') AS message_id,
    replace(answer.re_message_id::text, '-', '') AS re_message_id,
    replace(answer.sender_user::text || coalesce('@' || answer.sender_domain::text, ''), '-', '') AS sender,
    replace(asked.sender_user::text || coalesce('@' || asked.sender_domain::text, ''), '-', '') AS re_sender,
    answer.date - asked.date AS latency
FROM answer JOIN message AS asked ON asked.message_id = answer.re_message_id;

COMMENT ON VIEW delivery_text IS 'Each delivery attempt as text, with the columns of docs/columns.md.';
COMMENT ON VIEW delivery_final IS 'Final outcomes: what became of each message for each recipient. Columns as delivery_text.';
COMMENT ON VIEW reject_text IS 'Refusals as text, with the columns of docs/columns.md.';
COMMENT ON VIEW delivery_attempt IS 'delivery_text with the number of the attempt for its recipient, from 1; without probes.';
COMMENT ON VIEW delivery_daily IS 'Deliveries by UTC day, direction, domains and status; without hand-overs to our own queues and probes.';
COMMENT ON VIEW reply_edge IS 'Which message answers which, whose they are, and how long the answer took.';
COMMENT ON COLUMN delivery_text.id IS 'Names the log line, so that nothing is stored twice.';
COMMENT ON COLUMN delivery_text.queue_id IS 'The delivery''s queue id: a pseudonym, or as logged where the operator keeps it plain.';
COMMENT ON COLUMN delivery_text.sent_at IS 'Of an incoming message its date, of an outgoing one first_seen_at.';
COMMENT ON COLUMN delivery_text.received_at IS 'Of an incoming message first_seen_at, of an outgoing one when it was sent.';
COMMENT ON COLUMN delivery_text.sender IS 'Envelope sender: 32hex@32hex; empty is the null sender, NULL unknown.';
COMMENT ON COLUMN delivery_text.recipient IS 'Envelope recipient; NULL where a whole message expired.';
COMMENT ON COLUMN delivery_text.logged_at IS 'Log time of the line.';
COMMENT ON COLUMN delivery_text.original_recipient IS 'The address before aliases.';
COMMENT ON COLUMN delivery_text.list_recipient IS 'The subscriber whom a list''s encoded sender named.';
COMMENT ON COLUMN delivery_text.submitter IS 'SASL user.';
COMMENT ON COLUMN delivery_text.delay_before_queue IS 'Seconds until the queue manager had it, receiving included.';
COMMENT ON COLUMN delivery_text.delay_in_queue IS 'Seconds in the queue manager.';
COMMENT ON COLUMN delivery_text.delay_connect IS 'Seconds for DNS, connection, HELO and TLS.';
COMMENT ON COLUMN delivery_text.delay_transmit IS 'Seconds for the transmission.';
COMMENT ON COLUMN delivery_text.next_queue_id IS 'The queue id that took it on.';
COMMENT ON COLUMN delivery_text.parent_queue_id IS 'The queue id that it came from.';
COMMENT ON COLUMN reject_text.logged_at IS 'Log time of the line.';
COMMENT ON COLUMN reject_text.sender IS 'Envelope sender, as far as the client had named it; empty is the null sender.';
COMMENT ON COLUMN reject_text.recipient IS 'Recipient, as far as the client had named it.';
COMMENT ON COLUMN reject_text.id IS 'Names the log line, so that nothing is stored twice.';
COMMENT ON COLUMN delivery_attempt.attempt IS 'Number of the attempt for this recipient of this message, from 1.';
COMMENT ON COLUMN delivery_daily.day IS 'UTC day of the log.';
COMMENT ON COLUMN delivery_daily.deliveries IS 'Number of attempts.';
COMMENT ON COLUMN delivery_daily.bytes IS 'Sum of message sizes, as far as they are known.';
COMMENT ON COLUMN delivery_daily.mean_delay IS 'Mean of delay, in seconds.';
COMMENT ON COLUMN reply_edge.message_id IS 'Of the answer.';
COMMENT ON COLUMN reply_edge.re_message_id IS 'Of the message that it answers.';
COMMENT ON COLUMN reply_edge.sender IS 'Who answered.';
COMMENT ON COLUMN reply_edge.re_sender IS 'Who is answered.';
COMMENT ON COLUMN reply_edge.latency IS 'Between both Date headers; their writers'' clocks made them.';

DO $$                           -- what is called alike means the same
DECLARE
    pair  text[];
    found record;
BEGIN
    FOREACH pair SLICE 1 IN ARRAY ARRAY[['delivery_text', 'delivery'], ['delivery_daily', 'delivery'], ['reject_text', 'reject'],
                                        ['delivery_final', 'delivery_text'], ['delivery_attempt', 'delivery_text']] LOOP
        FOR found IN
            SELECT attname, col_description(kept.attrelid, kept.attnum) AS words
            FROM pg_attribute AS shown JOIN pg_attribute AS kept USING (attname)
            WHERE shown.attrelid = pair[1]::regclass AND kept.attrelid = pair[2]::regclass
              AND shown.attnum > 0 AND kept.attnum > 0 AND col_description(shown.attrelid, shown.attnum) IS NULL
        LOOP
            EXECUTE format('COMMENT ON COLUMN %I.%I IS %L', pair[1], found.attname, found.words);
        END LOOP;
    END LOOP;
END $$;
