"""Patroni 4 runs a PostgreSQL cluster of two nodes over the server under test, by Patroni's `etcd:` section."""
