"""Replays of tools that cannot be installed here: their requests as they were seen on the wire of a real etcd, made by
small clients of our own. They are not the tools.
"""
