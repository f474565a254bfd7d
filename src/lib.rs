//! etcdynamo: an etcd v2 server whose memory is an Amazon DynamoDB table.
