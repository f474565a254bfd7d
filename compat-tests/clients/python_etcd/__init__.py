"""python-etcd 0.4.5: the client library that Patroni's and many others' code grew from, used as its README shows."""
