"""Rspamd's task line, as `scrub` tells it again: a template (see sink.core.wordings).

[rspamd src/libserver/task.c rspamd_task_write_log(), with the log_format of its own options.inc]. The names of symbols
and what stands in their braces are left out: their number is told. Rspamd's digest of the message is a hash without a
key, so it is masked as well.
"""

from sink.core.forms import Forms

told = Forms(
    "<{hex}>; [[task|proxy]]; rspamd_task_write_log: id: {msgid}[[, qid: <{id}>|]][[, ip: {ip}|]][[, user: {account}|]]"
    "[[, from: <{address}>|]], (default: [[T|F]] ({verdict}): [{score}/{score}] [{symbols}]), len: {number}, "
    "time: {number}ms[[ real, {number}ms virtual|]], dns req: {number}, digest: <{hex}>[[, rcpts: <{addresses}>|]]"
    "[[, mime_rcpts: <{addresses}>|]]"
).told
