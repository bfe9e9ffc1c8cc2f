"""The bus, and procd's ``service`` object on it."""
