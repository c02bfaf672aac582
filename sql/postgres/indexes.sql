-- Optional indexes, made by `postsink db index`. Domains come first: most questions begin there.

CREATE INDEX IF NOT EXISTS delivery_by_recipient ON delivery (recipient_domain, recipient_user);
CREATE INDEX IF NOT EXISTS delivery_by_sender ON delivery (sender_domain, sender_user);
CREATE INDEX IF NOT EXISTS delivery_by_message_id ON delivery (message_id);
CREATE INDEX IF NOT EXISTS delivery_by_queue_id ON delivery (queue_id);
