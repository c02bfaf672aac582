"""Reads the host's own configuration, and says where raw lines of Postfix still reach a disk or secrets are open."""
