-- What `postsink report` asks of a store, made for one connection. It is the views' own rule over the tables, since
-- their text and a window over all columns take minutes for a million rows; tests/integration/test_report.py holds one
-- against the other. Times are seconds; user and domain are the halves of an address. {range} is one of log seconds.

CREATE TEMP VIEW ever AS        -- delivery_text
SELECT logged_second AS second, epoch, host, agent, status, reason, sender_user || coalesce(sender_domain, '') AS sender,
    recipient_user AS recipient, message_id, re_message_id, date, "from", "to", cc, bcc, message_size, subject_size,
    spam_score, is_list, is_outgoing, headers_cut, delays
FROM main.delivery;

CREATE TEMP VIEW attempt AS SELECT * FROM ever WHERE {range};

CREATE TEMP VIEW refusal AS     -- reject_text
SELECT second, epoch, category FROM (SELECT logged_second AS second, epoch, category FROM main.reject) WHERE {range};

CREATE TEMP TABLE outcome AS    -- delivery_final, with the number of deferrals
WITH handed AS (
    SELECT host, next_queue_id AS queue_id FROM delivery WHERE is_internal = 1 AND next_queue_id IS NOT NULL
), requeued AS (
    SELECT host, parent_queue_id AS queue_id, first_seen FROM delivery
    WHERE parent_queue_id IS NOT NULL AND coalesce(origin, '') NOT IN ('bounce', 'forward')
      AND (host, queue_id) NOT IN (SELECT host, queue_id FROM handed)
), superseded AS (              -- a join below: of NOT (...) IN SQLite reads the whole list for each row
    SELECT host, queue_id, first_seen, 1 AS gone FROM (
        SELECT host, queue_id, first_seen FROM delivery
        WHERE status IN ('expired', 'force-expired') AND recipient_user IS NULL
        UNION SELECT host, queue_id, first_seen FROM requeued)
), last AS (                    -- of bare columns SQLite takes those of the row that has the max()
    SELECT max(logged_second * 4294967296 + CAST(round(coalesce(delay, -1) * 100) AS INTEGER) * 2 + (status <> 'deferred')),
        sum(status = 'deferred') AS deferrals, host, queue_id, first_seen, logged_second, status, is_internal,
        is_outgoing, is_list, message_size, delay, delays, sender_user, sender_domain, recipient_user, recipient_domain
    FROM delivery
    WHERE status NOT IN ('deliverable', 'undeliverable', 'undeliverable-but-not-cached') AND coalesce(origin, '') <> 'verify'
    GROUP BY queue_id, recipient_user, recipient_domain, first_seen, original_user, original_domain, host
)
SELECT logged_second AS second, strftime('%Y-%m-%dT%H', logged_second, 'unixepoch') AS hour, status, is_outgoing, is_list, message_size, delay,
    delays, deferrals, sender_user, sender_domain, recipient_user, recipient_domain
FROM last LEFT JOIN superseded USING (host, queue_id, first_seen)
WHERE is_internal = 0 AND NOT (status = 'deferred' AND gone IS NOT NULL) AND {range};
