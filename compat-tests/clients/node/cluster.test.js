// What node-etcd asks about the cluster, also where etcd 3.4 no longer has an answer.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { connect, ok, refused, call } = require('./support');

const etcd = connect();

test('version', async () => {
  const { etcdserver, etcdcluster } = await ok(etcd, 'version');
  assert.match(etcdserver, /^\d+\.\d+\.\d+/);
  assert.match(etcdcluster, /^\d+\.\d+\.\d+/);
});

test('statistics of this server and of the leader agree', async () => {
  const self = await ok(etcd, 'selfStats');
  assert.equal(self.state, 'StateLeader');
  assert.equal(self.leaderInfo.leader, self.id);
  assert.ok(!Number.isNaN(Date.parse(self.startTime)));
  const { leader, followers } = await ok(etcd, 'leaderStats');
  assert.equal(leader, self.id);
  assert.deepEqual(followers, {});
});

test('machines reads a key that nobody writes any more', async () => {
  await refused({ code: 100, message: 'Key not found', cause: '/_etcd' }, etcd, 'machines');
});

test('leader has no page any more', async () => {
  const { err, body } = await call(etcd, 'leader');
  assert.equal(err, null);
  assert.equal(body, '404 page not found\n');
});
