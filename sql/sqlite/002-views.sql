-- Views of the embedded store: the names and forms that people and tools may rely on.
-- Pseudonyms are 32 hex digits, an address is 32hex@32hex, times are ISO 8601 in UTC with microseconds.

CREATE VIEW delivery_text AS
SELECT
    lower(hex(id)) AS id,
    CASE WHEN message_id IS NOT NULL THEN lower(hex(message_id)) END AS message_id,
    CASE WHEN typeof(queue_id) = 'text' THEN queue_id ELSE lower(hex(queue_id)) END AS queue_id,
    strftime('%Y-%m-%dT%H:%M:%S', (first_seen) / 1000000, 'unixepoch') || printf('.%06dZ', (first_seen) % 1000000) AS first_seen_at,
    strftime('%Y-%m-%dT%H:%M:%S.000000Z', date, 'unixepoch') AS date,
    strftime('%Y-%m-%dT%H:%M:%S', (CASE is_outgoing WHEN 0 THEN date * 1000000 WHEN 1 THEN first_seen END) / 1000000, 'unixepoch') || printf('.%06dZ', (CASE is_outgoing WHEN 0 THEN date * 1000000 WHEN 1 THEN first_seen END) % 1000000) AS sent_at,
    strftime('%Y-%m-%dT%H:%M:%S', (CASE WHEN is_outgoing = 0 THEN first_seen WHEN is_outgoing = 1 AND status = 'sent' THEN logged_second * 1000000 + logged_micros END) / 1000000, 'unixepoch') || printf('.%06dZ', (CASE WHEN is_outgoing = 0 THEN first_seen WHEN is_outgoing = 1 AND status = 'sent' THEN logged_second * 1000000 + logged_micros END) % 1000000) AS received_at,
    CASE WHEN sender_user IS NULL THEN NULL WHEN sender_domain IS NULL THEN lower(hex(sender_user))
         ELSE lower(hex(sender_user)) || '@' || lower(hex(sender_domain)) END AS "sender",
    CASE WHEN recipient_user IS NULL THEN NULL WHEN recipient_domain IS NULL THEN lower(hex(recipient_user))
         ELSE lower(hex(recipient_user)) || '@' || lower(hex(recipient_domain)) END AS "recipient",
    "from",
    "to",
    cc,
    bcc,
    message_size,
    spam_score,
    subject_size,
    is_list,
    is_outgoing,
    CASE WHEN re_message_id IS NOT NULL THEN lower(hex(re_message_id)) END AS re_message_id,
    status,
    delay,
    delays,
    host,
    instance,
    agent,
    strftime('%Y-%m-%dT%H:%M:%S', (logged_second * 1000000 + logged_micros) / 1000000, 'unixepoch') || printf('.%06dZ', (logged_second * 1000000 + logged_micros) % 1000000) AS logged_at,
    epoch,
    CASE WHEN original_user IS NULL THEN NULL WHEN original_domain IS NULL THEN lower(hex(original_user))
         ELSE lower(hex(original_user)) || '@' || lower(hex(original_domain)) END AS "original_recipient",
    CASE WHEN list_user IS NULL THEN NULL WHEN list_domain IS NULL THEN lower(hex(list_user))
         ELSE lower(hex(list_user)) || '@' || lower(hex(list_domain)) END AS "list_recipient",
    sender_kind,
    CASE WHEN submitter_user IS NULL THEN NULL WHEN submitter_domain IS NULL THEN lower(hex(submitter_user))
         ELSE lower(hex(submitter_user)) || '@' || lower(hex(submitter_domain)) END AS "submitter",
    CASE WHEN resent_message_id IS NOT NULL THEN lower(hex(resent_message_id)) END AS resent_message_id,
    dsn,
    reply_code,
    reason,
    CASE WHEN relay IS NOT NULL THEN lower(hex(relay)) END AS relay,
    relay_kind,
    recipients,
    json_extract('[' || replace(delays, '/', ',') || ']', '$[0]') AS delay_before_queue,
    json_extract('[' || replace(delays, '/', ',') || ']', '$[1]') AS delay_in_queue,
    json_extract('[' || replace(delays, '/', ',') || ']', '$[2]') AS delay_connect,
    json_extract('[' || replace(delays, '/', ',') || ']', '$[3]') AS delay_transmit,
    origin,
    CASE WHEN next_queue_id IS NOT NULL THEN CASE WHEN typeof(next_queue_id) = 'text' THEN next_queue_id ELSE lower(hex(next_queue_id)) END END AS next_queue_id,
    CASE WHEN parent_queue_id IS NOT NULL THEN CASE WHEN typeof(parent_queue_id) = 'text' THEN parent_queue_id ELSE lower(hex(parent_queue_id)) END END AS parent_queue_id,
    is_internal,
    headers_cut
FROM delivery;

-- Final outcomes: the last row of each (host, queue_id, first_seen_at, recipient, original_recipient), unless that
-- row only handed the message to another queue of ours. An expired row supersedes its message's deferred rows,
-- a requeued child its parent's; probes are left out.
CREATE VIEW delivery_final AS
WITH handed AS (                -- children of content filters: their parents' rows are internal already
    SELECT host, next_queue_id AS queue_id FROM delivery WHERE is_internal = 1 AND next_queue_id IS NOT NULL
), requeued AS (                -- messages that go on under another queue id
    SELECT host, parent_queue_id AS queue_id, first_seen FROM delivery
    WHERE parent_queue_id IS NOT NULL AND coalesce(origin, '') NOT IN ('bounce', 'forward')
      AND (host, queue_id) NOT IN (SELECT host, queue_id FROM handed)
), expired AS (
    SELECT host, queue_id, first_seen FROM delivery WHERE status IN ('expired', 'force-expired') AND recipient_user IS NULL
), ranked AS (
    SELECT *, row_number() OVER (
        PARTITION BY host, queue_id, first_seen, recipient_user, recipient_domain, original_user, original_domain
        ORDER BY logged_second DESC, delay DESC, CASE status WHEN 'deferred' THEN 1 ELSE 0 END, id
    ) AS place
    FROM delivery
    WHERE status NOT IN ('deliverable', 'undeliverable', 'undeliverable-but-not-cached') AND coalesce(origin, '') <> 'verify'
), last AS (
    SELECT * FROM ranked
    WHERE place = 1 AND is_internal = 0
      AND NOT (status = 'deferred' AND (host, queue_id, first_seen) IN (SELECT host, queue_id, first_seen FROM expired))
      AND NOT (status = 'deferred' AND (host, queue_id, first_seen) IN (SELECT host, queue_id, first_seen FROM requeued))
)
SELECT * FROM delivery_text WHERE id IN (SELECT lower(hex(id)) FROM last);

CREATE VIEW reject_text AS
SELECT
    strftime('%Y-%m-%dT%H:%M:%S', (logged_second * 1000000 + logged_micros) / 1000000, 'unixepoch') || printf('.%06dZ', (logged_second * 1000000 + logged_micros) % 1000000) AS logged_at,
    host,
    instance,
    agent,
    stage,
    reply_code,
    dsn,
    CASE WHEN sender_user IS NULL THEN NULL WHEN sender_domain IS NULL THEN lower(hex(sender_user))
         ELSE lower(hex(sender_user)) || '@' || lower(hex(sender_domain)) END AS "sender",
    CASE WHEN recipient_user IS NULL THEN NULL WHEN recipient_domain IS NULL THEN lower(hex(recipient_user))
         ELSE lower(hex(recipient_user)) || '@' || lower(hex(recipient_domain)) END AS "recipient",
    category,
    epoch,
    lower(hex(id)) AS id
FROM reject;
