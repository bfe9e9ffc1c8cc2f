"""Firewall back ends, one file each; ``core.firewall`` says what rules they are to hold."""
