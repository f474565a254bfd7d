// Watches of node-etcd. Chosen by the runner only where the server has watches.
'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { test, beforeEach } = require('node:test');
const { PATIENCE_MS, connect, home, ok, eventually } = require('./support');

let etcd, key;

beforeEach(() => {
  etcd = connect();
  const mine = home();
  key = (name) => `${mine}/${name}`;
});

const patience = { timeout: PATIENCE_MS };

test('watchIndex gives the first event from there', patience, async () => {
  const first = await ok(etcd, 'set', key('f'), '1');
  const second = await ok(etcd, 'set', key('f'), '2');
  await ok(etcd, 'set', key('f'), '3');
  const event = await ok(etcd, 'watchIndex', key('f'), first.node.modifiedIndex + 1);
  assert.deepEqual(event, second);
});

test('watch waits for the next event', patience, async () => {
  let event;
  etcd.watch(key('f'), (err, body) => {
    assert.equal(err, null);
    event = body;
  });
  await eventually('an event arrives', async () => {
    await ok(etcd, 'set', key('f'), 'v');
    return event;
  });
  assert.equal(event.action, 'set');
  assert.equal(event.node.key, key('f'));
});

test('a watcher sees every event once and in order', patience, async () => {
  const start = await ok(etcd, 'set', key('d/f'), 'start');
  const watcher = etcd.watcher(key('d'), start.node.modifiedIndex + 1, { recursive: true });
  const seen = [];
  const done = new Promise((resolve, reject) => {
    watcher.on('error', reject);
    watcher.on('resync', reject);
    watcher.on('reconnect', reject);
    watcher.on('change', (event) => seen.push(event.action + ' ' + (event.node.value || '')));
    watcher.on('delete', resolve);
  });
  const wanted = [];
  for (let n = 0; n < 50; n += 1) {
    await ok(etcd, 'set', key('d/f'), String(n));
    wanted.push(`set ${n}`);
  }
  await ok(etcd, 'del', key('d/f'));
  await done;
  watcher.stop();
  assert.deepEqual(seen, [...wanted, 'delete ']);
});

test('a watcher is told of an expiry', patience, async () => {
  const { node } = await ok(etcd, 'set', key('f'), 'v', { ttl: 1 });
  const watcher = etcd.watcher(key('f'), node.modifiedIndex + 1);
  const [event] = await once(watcher, 'expire');
  watcher.stop();
  assert.equal(event.prevNode.value, 'v');
});

test('a watcher from an index long gone is set right and goes on', patience, async () => {
  for (let n = 0; n < 1050; n += 1) await ok(etcd, 'set', key('other'), String(n));
  const watcher = etcd.watcher(key('f'), 1);
  const [err] = await once(watcher, 'resync');
  assert.equal(err.errorCode, 401);
  assert.equal(err.error.message, 'The event in requested index is outdated and cleared');
  const heard = once(watcher, 'set');
  await ok(etcd, 'set', key('f'), 'after');
  const [event] = await heard;
  watcher.stop();
  assert.equal(event.node.value, 'after');
});
