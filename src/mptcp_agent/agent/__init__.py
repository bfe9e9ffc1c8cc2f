"""The running agent. Begin with ``loop``: event -> observe -> plan -> diff -> apply -> publish."""
