-- Tables of the embedded store. The views in 002-views.sql are the contract; these are how it is kept.
-- Addresses are two 16-byte halves, user and domain. An empty user is the null sender, NULL is unknown.
-- Times are UTC: *_second in whole seconds, first_seen in microseconds, since 1970.

CREATE TABLE setting (          -- what every pseudonym and key in this store depends on
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE epoch (            -- each epoch's check value: a store takes rows under these keys only
    number      INTEGER NOT NULL PRIMARY KEY,
    check_value TEXT    NOT NULL
) WITHOUT ROWID;

CREATE TABLE delivery (         -- one row a delivery attempt; time leads the key, so that rows of now lie together
    logged_second     INTEGER NOT NULL,
    id                BLOB    NOT NULL,
    logged_micros     INTEGER NOT NULL,
    epoch             INTEGER NOT NULL,
    host              TEXT    NOT NULL,
    instance          TEXT    NOT NULL,
    agent             TEXT,
    queue_id                  NOT NULL,  -- a blob, or text where the operator keeps queue ids plain
    message_id        BLOB,
    resent_message_id BLOB,
    re_message_id     BLOB,
    first_seen        INTEGER NOT NULL,
    date              INTEGER,
    sender_user       BLOB,
    sender_domain     BLOB,
    sender_kind       TEXT,
    recipient_user    BLOB,
    recipient_domain  BLOB,
    original_user     BLOB,
    original_domain   BLOB,
    list_user         BLOB,
    list_domain       BLOB,
    submitter_user    BLOB,
    submitter_domain  BLOB,
    "from"            TEXT,
    "to"              TEXT,
    cc                TEXT,
    bcc               TEXT,
    message_size      INTEGER,
    recipients        INTEGER,
    spam_score        REAL,
    subject_size      INTEGER,
    is_list           INTEGER,
    is_outgoing       INTEGER,
    is_internal       INTEGER NOT NULL,
    headers_cut       INTEGER,
    status            TEXT    NOT NULL,
    delay             REAL,
    delays            TEXT,
    dsn               TEXT,
    reply_code        INTEGER,
    reason            TEXT,
    relay             BLOB,
    relay_kind        TEXT,
    origin            TEXT,
    next_queue_id,
    parent_queue_id,
    PRIMARY KEY (logged_second, id)
) WITHOUT ROWID;

CREATE TABLE reject (           -- refusals
    logged_second    INTEGER NOT NULL,
    id               BLOB    NOT NULL,
    logged_micros    INTEGER NOT NULL,
    epoch            INTEGER NOT NULL,
    host             TEXT    NOT NULL,
    instance         TEXT    NOT NULL,
    agent            TEXT,
    stage            TEXT    NOT NULL,
    reply_code       INTEGER,
    dsn              TEXT,
    sender_user      BLOB,
    sender_domain    BLOB,
    recipient_user   BLOB,
    recipient_domain BLOB,
    sender_kind      TEXT,
    category         TEXT    NOT NULL,
    PRIMARY KEY (logged_second, id)
) WITHOUT ROWID;

CREATE TABLE open_message (     -- messages whose rows can still come, by stream; pseudonymous like all else
    stream TEXT NOT NULL,
    token  BLOB NOT NULL,
    state  BLOB NOT NULL,
    PRIMARY KEY (stream, token)
) WITHOUT ROWID;
