-- Tables. The views in 002-views.sql are the contract; these are how it is kept: partitions of a month, pseudonyms of
-- 16 bytes (uuid), addresses in two halves so that domains can be grouped, time leading the key so that what is new lies
-- together, no index on random keys unless `postsink db index` makes them.
-- compat: 1

CREATE TABLE epoch (
    number      smallint NOT NULL PRIMARY KEY,
    check_value text     NOT NULL,
    settings    text     NOT NULL
);

CREATE TABLE delivery (
    logged_at             timestamptz NOT NULL,
    first_seen_at         timestamptz NOT NULL,
    date                  timestamptz,
    message_size          bigint,
    delay                 double precision,
    spam_score            double precision,
    logged_micros         integer NOT NULL,
    recipients            integer,
    subject_size          integer,
    epoch                 smallint NOT NULL,
    reply_code            smallint,
    is_list               boolean,
    is_outgoing           boolean,
    is_internal           boolean NOT NULL,
    headers_cut           boolean,
    delivery_key          uuid NOT NULL,
    queue_id              uuid,
    message_id            uuid,
    resent_message_id     uuid,
    re_message_id         uuid,
    sender_user           uuid,
    sender_domain         uuid,
    recipient_user        uuid,
    recipient_domain      uuid,
    original_user         uuid,
    original_domain       uuid,
    list_user             uuid,
    list_domain           uuid,
    submitter_user        uuid,
    submitter_domain      uuid,
    relay                 uuid,
    next_queue_id         uuid,
    parent_queue_id       uuid,
    host                  text NOT NULL,
    instance              text NOT NULL,
    agent                 text,
    status                text NOT NULL,
    delays                text,
    dsn                   text,
    reason                text,
    relay_kind            text,
    origin                text,
    sender_kind           text,
    "from"                text,
    "to"                  text,
    cc                    text,
    bcc                   text,
    queue_id_plain        text,
    next_queue_id_plain   text,
    parent_queue_id_plain text,
    PRIMARY KEY (logged_at, delivery_key)
) PARTITION BY RANGE (logged_at);

CREATE TABLE reject (
    logged_at        timestamptz NOT NULL,
    logged_micros    integer NOT NULL,
    epoch            smallint NOT NULL,
    reply_code       smallint,
    reject_key       uuid NOT NULL,
    sender_user      uuid,
    sender_domain    uuid,
    recipient_user   uuid,
    recipient_domain uuid,
    host             text NOT NULL,
    instance         text NOT NULL,
    agent            text,
    stage            text NOT NULL,
    dsn              text,
    sender_kind      text,
    category         text NOT NULL,
    PRIMARY KEY (logged_at, reject_key)
) PARTITION BY RANGE (logged_at);

CREATE INDEX delivery_time ON delivery USING brin (logged_at);
CREATE INDEX reject_time ON reject USING brin (logged_at);

COMMENT ON TABLE epoch IS 'Check values of the keys that rows here are made with, and what else pseudonyms depend on. No key.';
COMMENT ON COLUMN epoch.number IS 'As in the rows.';
COMMENT ON COLUMN epoch.check_value IS '16 hex digits that tell two keys apart, and nothing of them.';
COMMENT ON COLUMN epoch.settings IS 'Normal form of addresses, and whether queue ids are plain.';
COMMENT ON TABLE delivery IS 'One row a delivery attempt, by month. Months without a partition go to delivery_default.';
COMMENT ON TABLE reject IS 'Refusals, by month.';
COMMENT ON COLUMN delivery.logged_at IS 'Log time of the line, whole second, UTC; leads the key.';
COMMENT ON COLUMN delivery.first_seen_at IS 'When the first line of the message appeared.';
COMMENT ON COLUMN delivery.date IS 'The Date header.';
COMMENT ON COLUMN delivery.message_size IS 'Bytes.';
COMMENT ON COLUMN delivery.delay IS 'Seconds from the message''s arrival to this attempt''s end.';
COMMENT ON COLUMN delivery.spam_score IS 'Of our own milter or trusted filter.';
COMMENT ON COLUMN delivery.logged_micros IS 'Microseconds of log time; no part of the key, since formats differ in them.';
COMMENT ON COLUMN delivery.recipients IS 'nrcpt, after alias expansion.';
COMMENT ON COLUMN delivery.subject_size IS 'Characters of the decoded Subject.';
COMMENT ON COLUMN delivery.epoch IS 'Number of the key that made the pseudonyms.';
COMMENT ON COLUMN delivery.reply_code IS 'Three-digit code of the next hop.';
COMMENT ON COLUMN delivery.is_list IS 'A list sent it.';
COMMENT ON COLUMN delivery.is_outgoing IS 'Submitted here to a recipient that is not local; NULL where the submission was not seen.';
COMMENT ON COLUMN delivery.is_internal IS 'This attempt handed the message to another queue of ours.';
COMMENT ON COLUMN delivery.headers_cut IS 'A logged header hit the length limit.';
COMMENT ON COLUMN delivery.delivery_key IS 'Names the delivery line, so that nothing is stored twice.';
COMMENT ON COLUMN delivery.queue_id IS 'Pseudonym of the queue id; NULL where it is kept plain.';
COMMENT ON COLUMN delivery.message_id IS 'Pseudonym of the Message-ID.';
COMMENT ON COLUMN delivery.resent_message_id IS 'Pseudonym of the Resent-Message-ID.';
COMMENT ON COLUMN delivery.re_message_id IS 'Pseudonym of the message-id that this message answers.';
COMMENT ON COLUMN delivery.sender_user IS 'Envelope sender, the user''s half; NULL for the null sender, too, whose kind is null.';
COMMENT ON COLUMN delivery.sender_domain IS 'Envelope sender, the domain''s half.';
COMMENT ON COLUMN delivery.recipient_user IS 'Envelope recipient, the user''s half.';
COMMENT ON COLUMN delivery.recipient_domain IS 'Envelope recipient, the domain''s half.';
COMMENT ON COLUMN delivery.original_user IS 'orig_to, the user''s half.';
COMMENT ON COLUMN delivery.original_domain IS 'orig_to, the domain''s half.';
COMMENT ON COLUMN delivery.list_user IS 'The subscriber whom a list''s encoded sender named, the user''s half.';
COMMENT ON COLUMN delivery.list_domain IS 'The same, the domain''s half.';
COMMENT ON COLUMN delivery.submitter_user IS 'SASL user, the user''s half.';
COMMENT ON COLUMN delivery.submitter_domain IS 'SASL user, the domain''s half.';
COMMENT ON COLUMN delivery.relay IS 'Pseudonym of the next hop''s host name.';
COMMENT ON COLUMN delivery.next_queue_id IS 'Pseudonym of the queue id that it was handed to.';
COMMENT ON COLUMN delivery.parent_queue_id IS 'Pseudonym of the queue id that it came from.';
COMMENT ON COLUMN delivery.host IS 'The logging host, in clear.';
COMMENT ON COLUMN delivery.instance IS 'Postfix''s syslog_name.';
COMMENT ON COLUMN delivery.agent IS 'The program that delivered.';
COMMENT ON COLUMN delivery.status IS 'As logged, lower case.';
COMMENT ON COLUMN delivery.delays IS 'a/b/c/d as logged.';
COMMENT ON COLUMN delivery.dsn IS 'Enhanced status code.';
COMMENT ON COLUMN delivery.reason IS 'Why it was not sent, a word of a closed list.';
COMMENT ON COLUMN delivery.relay_kind IS 'none, local, socket, loopback, internal or remote.';
COMMENT ON COLUMN delivery.origin IS 'How it came here, a word of a closed list.';
COMMENT ON COLUMN delivery.sender_kind IS 'plain, null, bare, verp, srs or batv.';
COMMENT ON COLUMN delivery."from" IS 'Addresses of the From header: 32hex@32hex, sorted, a blank between.';
COMMENT ON COLUMN delivery."to" IS 'Of To.';
COMMENT ON COLUMN delivery.cc IS 'Of Cc.';
COMMENT ON COLUMN delivery.bcc IS 'Of Bcc.';
COMMENT ON COLUMN delivery.queue_id_plain IS 'The queue id in clear, where the operator keeps it.';
COMMENT ON COLUMN delivery.next_queue_id_plain IS 'The same of next_queue_id.';
COMMENT ON COLUMN delivery.parent_queue_id_plain IS 'The same of parent_queue_id.';
COMMENT ON COLUMN reject.logged_at IS 'Log time of the line, whole second, UTC.';
COMMENT ON COLUMN reject.logged_micros IS 'Microseconds of log time.';
COMMENT ON COLUMN reject.epoch IS 'Number of the key.';
COMMENT ON COLUMN reject.reply_code IS 'Three-digit code.';
COMMENT ON COLUMN reject.reject_key IS 'Names the refusal line.';
COMMENT ON COLUMN reject.sender_user IS 'Envelope sender, the user''s half.';
COMMENT ON COLUMN reject.sender_domain IS 'Envelope sender, the domain''s half.';
COMMENT ON COLUMN reject.recipient_user IS 'Recipient, the user''s half.';
COMMENT ON COLUMN reject.recipient_domain IS 'Recipient, the domain''s half.';
COMMENT ON COLUMN reject.host IS 'The logging host, in clear.';
COMMENT ON COLUMN reject.instance IS 'Postfix''s syslog_name.';
COMMENT ON COLUMN reject.agent IS 'The program that refused.';
COMMENT ON COLUMN reject.stage IS 'CONNECT, RCPT, DATA ...';
COMMENT ON COLUMN reject.dsn IS 'Enhanced status code.';
COMMENT ON COLUMN reject.sender_kind IS 'As in delivery.';
COMMENT ON COLUMN reject.category IS 'A word of a closed list.';

-- Whatever month a row is of, it is taken; made like their tables, so that they have their columns' comments, too.
CREATE TABLE delivery_default (LIKE delivery INCLUDING ALL);
CREATE TABLE reject_default (LIKE reject INCLUDING ALL);
ALTER TABLE delivery ATTACH PARTITION delivery_default DEFAULT;
ALTER TABLE reject ATTACH PARTITION reject_default DEFAULT;
COMMENT ON TABLE delivery_default IS 'Rows of months without a partition; postsink db upgrade moves them.';
COMMENT ON TABLE reject_default IS 'Refusals of months without a partition; postsink db upgrade moves them.';
