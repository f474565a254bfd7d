// A watcher of node-etcd on a server that ends silent watches: it says so, asks again, and misses nothing.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { PATIENCE_MS, connect, eventually, home, ok } = require('./support');

test('a watcher goes on after silences', { timeout: PATIENCE_MS }, async () => {
  const etcd = connect();
  const key = `${home()}/f`;
  const start = await ok(etcd, 'set', key, 'start');
  const watcher = etcd.watcher(key, start.node.modifiedIndex + 1);
  const seen = [];
  const silences = [];
  const failed = new Promise((_, reject) => {
    watcher.on('error', reject);
    watcher.on('resync', reject);
  });
  watcher.on('reconnect', (why) => silences.push(why.message));
  watcher.on('change', (event) => seen.push(event.node.value));
  const life = async () => {
    for (const value of ['1', '2', '3']) {
      const before = silences.length;
      await eventually('two silences', () => silences.length >= before + 2);
      await ok(etcd, 'set', key, value);
      await eventually(`${value} is seen`, () => seen.includes(value));
    }
  };
  await Promise.race([life(), failed]);
  watcher.stop();
  assert.deepEqual(seen, ['1', '2', '3']);
  assert.deepEqual([...new Set(silences)], ['Etcd timed out watcher, reconnecting.']);
});
