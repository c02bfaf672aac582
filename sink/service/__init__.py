"""The daemon and rsyslog's child: lines that arrive now."""
