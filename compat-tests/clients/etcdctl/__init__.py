"""etcdctl 3.4 with ETCDCTL_API=2: the command-line client, run as its users run it."""
