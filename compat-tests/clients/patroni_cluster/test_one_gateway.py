"""The story of a cluster over one server: real etcd, or etcdynamo on its own file."""

from patroni_cluster import story


class OneGateway(story.Story):
    pass
