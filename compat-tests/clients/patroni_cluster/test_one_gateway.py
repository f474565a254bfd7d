"""The story of a cluster over one server: real etcd, or etcdynamo on either of its stores."""

from patroni_cluster import story


class OneGateway(story.Story):
    pass
