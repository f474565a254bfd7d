// node-etcd on keys, by callbacks and by its synchronous calls. Not watches.
// It puts every option into the query, also of a PUT; without a value the body of a PUT is empty.
'use strict';

const assert = require('node:assert/strict');
const { test, describe, beforeEach } = require('node:test');
const { EXPIRY_GRACE_S, connect, home, call, ok, refused, assertRefused, eventually } = require('./support');

let etcd, key;

beforeEach(() => {
  etcd = connect();
  const mine = home();
  key = (name) => `${mine}/${name}`;
});

const missing = (cause) => ({ code: 100, message: 'Key not found', cause });

describe('set and get', () => {
  test('a new key, and again', async () => {
    const first = await ok(etcd, 'set', key('f'), '1');
    assert.equal(first.action, 'set');
    assert.equal(first.prevNode, undefined);
    const second = await ok(etcd, 'set', key('f'), '2');
    assert.deepEqual(second.prevNode, first.node);
    assert.ok(second.node.modifiedIndex > first.node.modifiedIndex);
    assert.deepEqual((await ok(etcd, 'get', key('f'))).node, second.node);
  });

  test('values come back as they were', async () => {
    for (const value of ['', 'a=b&c;d+e f%20', 'ключ \u2028 "\\" <b>\n\t', '\u{1F511}', 'x'.repeat(100000)]) {
      await ok(etcd, 'set', key('f'), value);
      assert.equal((await ok(etcd, 'get', key('f'))).node.value, value);
    }
  });

  test('headers carry the indexes and the cluster', async () => {
    const written = await ok(etcd, 'set', key('f'), 'v');
    const { headers } = await call(etcd, 'get', key('f'));
    assert.ok(Number(headers['x-etcd-index']) >= written.node.modifiedIndex);
    assert.ok(Number(headers['x-raft-index']) > 0);
    assert.match(headers['x-etcd-cluster-id'], /^[0-9a-f]{1,16}$/);
    assert.match(headers['content-type'], /^application\/json/);
  });

  test('indexes are whole numbers that JavaScript reads exactly', async () => {
    const { node } = await ok(etcd, 'set', key('f'), 'v');
    assert.ok(Number.isSafeInteger(node.modifiedIndex));
    assert.ok(Number.isSafeInteger(node.createdIndex));
  });

  test('a missing key', async () => {
    await ok(etcd, 'set', key('f'), 'v');
    await refused(missing(key('none')), etcd, 'get', key('none/below'));
  });

  test('on a directory and below a file', async () => {
    await ok(etcd, 'set', key('d/f'), 'v');
    await refused({ code: 102, message: 'Not a file', cause: key('d') }, etcd, 'set', key('d'), 'v');
    await refused({ code: 104, message: 'Not a directory', cause: key('d/f') }, etcd, 'set', key('d/f/g'), 'v');
  });
});

describe('options in the query', () => {
  test('ttl with an empty body makes an empty value that goes', async () => {
    const { node } = await ok(etcd, 'set', key('f'), null, { ttl: 1 });
    assert.equal(node.value, '');
    assert.equal(node.ttl, 1);
    assert.ok(!Number.isNaN(Date.parse(node.expiration)));
    const gone = async () => (await call(etcd, 'get', key('f'))).err;
    const err = await eventually('the key goes', gone, (1 + EXPIRY_GRACE_S) * 1000);
    assert.equal(err.errorCode, 100);
  });

  test('ttl with a value', async () => {
    const { node } = await ok(etcd, 'set', key('f'), 'v', { ttl: 100 });
    assert.equal(node.value, 'v');
    assert.equal(node.ttl, 100);
  });

  test('a bad ttl', async () => {
    const { err } = await call(etcd, 'set', key('f'), 'v', { ttl: 'soon' });
    assert.equal(err.errorCode, 202);
    assert.equal(err.error.cause, 'invalid value for "ttl"');
  });

  test('refresh keeps the value', async () => {
    const made = await ok(etcd, 'set', key('f'), 'v', { ttl: 20 });
    const options = { ttl: 100, refresh: true, prevExist: true };
    const { action, node } = await ok(etcd, 'set', key('f'), null, options);
    assert.equal(action, 'update');
    assert.equal(node.value, 'v');
    assert.equal(node.ttl, 100);
    assert.equal(node.createdIndex, made.node.createdIndex);
  });

  test('prevExist', async () => {
    const options = { prevExist: false };
    assert.equal((await ok(etcd, 'set', key('f'), 'v', options)).action, 'create');
    await refused({ code: 105, message: 'Key already exists', cause: key('f') }, etcd, 'set', key('f'), 'w', options);
    assert.equal((await ok(etcd, 'set', key('f'), 'w', { prevExist: true })).action, 'update');
  });

  test('unknown ones are passed over', async () => {
    assert.equal((await ok(etcd, 'set', key('f'), 'v', { consistent: true })).node.value, 'v');
  });
});

describe('conditions', () => {
  test('compareAndSwap', async () => {
    await ok(etcd, 'set', key('f'), 'old');
    const swapped = await ok(etcd, 'compareAndSwap', key('f'), 'new', 'old');
    assert.equal(swapped.action, 'compareAndSwap');
    assert.equal(swapped.prevNode.value, 'old');
    const failed = { code: 101, message: 'Compare failed', cause: '[old != new]' };
    await refused(failed, etcd, 'testAndSet', key('f'), 'x', 'old');
  });

  test('compareAndDelete', async () => {
    await ok(etcd, 'set', key('f'), 'is');
    const failed = { code: 101, message: 'Compare failed', cause: '[said != is]' };
    await refused(failed, etcd, 'compareAndDelete', key('f'), 'said');
    const gone = await ok(etcd, 'testAndDelete', key('f'), 'is');
    assert.equal(gone.action, 'compareAndDelete');
    assert.equal(gone.node.value, undefined);
    assert.equal(gone.prevNode.value, 'is');
  });

  test('by index', async () => {
    const { node } = await ok(etcd, 'set', key('f'), 'v');
    const prevIndex = node.modifiedIndex;
    const after = await ok(etcd, 'set', key('f'), 'w', { prevIndex });
    assert.equal(after.action, 'compareAndSwap');
    const cause = `[${prevIndex} != ${after.node.modifiedIndex}]`;
    await refused({ code: 101, message: 'Compare failed', cause }, etcd, 'del', key('f'), { prevIndex });
  });
});

describe('directories', () => {
  test('mkdir, list, rmdir', async () => {
    const made = await ok(etcd, 'mkdir', key('d'));
    assert.equal(made.node.dir, true);
    await ok(etcd, 'set', key('d/b'), '1');
    await ok(etcd, 'set', key('d/a/c'), '2');
    const flat = await ok(etcd, 'get', key('d'), { sorted: true });
    assert.deepEqual(flat.node.nodes.map((node) => node.key), [key('d/a'), key('d/b')]);
    const { node } = await ok(etcd, 'get', key('d'), { recursive: true, sorted: true });
    assert.equal(node.nodes[0].nodes[0].value, '2');
    await refused({ code: 108, message: 'Directory not empty', cause: key('d') }, etcd, 'rmdir', key('d'));
    assert.equal((await ok(etcd, 'rmdir', key('d'), { recursive: true })).node.dir, true);
    await ok(etcd, 'set', key('f'), 'v');
    await refused(missing(key('d')), etcd, 'get', key('d/b'));
  });

  test('mkdir with a ttl', async () => {
    const { node } = await ok(etcd, 'mkdir', key('d'), { ttl: 100 });
    assert.equal(node.dir, true);
    assert.equal(node.ttl, 100);
  });

  test('del needs to be told', async () => {
    await ok(etcd, 'mkdir', key('d'));
    await refused({ code: 102, message: 'Not a file', cause: key('d') }, etcd, 'del', key('d'));
    assert.equal((await ok(etcd, 'delete', key('d'), { dir: true })).action, 'delete');
  });

  test('create makes keys in order', async () => {
    const made = [];
    for (const value of ['a', 'b', 'c']) made.push(await ok(etcd, 'create', key('q'), value));
    const keys = made.map(({ node }) => node.key);
    assert.deepEqual(keys, [...keys].sort());
    assert.equal(new Set(keys).size, 3);
    for (const { action, node } of made) {
      assert.equal(action, 'create');
      assert.equal(node.key, `${key('q')}/${String(node.createdIndex).padStart(20, '0')}`);
    }
    const listed = await ok(etcd, 'get', key('q'), { sorted: true });
    assert.deepEqual(listed.node.nodes.map((node) => node.value), ['a', 'b', 'c']);
  });

  test('post with a ttl in the query', async () => {
    assert.equal((await ok(etcd, 'post', key('q'), 'v', { ttl: 100 })).node.ttl, 100);
  });
});

describe('synchronous calls', () => {
  test('set, get, del', () => {
    const set = etcd.setSync(key('f'), 'v');
    assert.equal(set.err, null);
    assert.equal(set.body.node.value, 'v');
    assert.equal(etcd.getSync(key('f')).body.node.value, 'v');
    assert.equal(etcd.delSync(key('f')).body.action, 'delete');
    assert.ok(Number(etcd.setSync(key('g'), 'w').headers['x-etcd-index']) > 0);
    assertRefused(missing(key('f')), etcd.getSync(key('f')).err);
  });

  test('mkdir, rmdir', () => {
    assert.equal(etcd.mkdirSync(key('d')).body.node.dir, true);
    assert.equal(etcd.rmdirSync(key('d')).body.action, 'delete');
  });
});

describe('raw', () => {
  test('any method on any path', async () => {
    const made = await ok(etcd, 'raw', 'PUT', `v2/keys${key('f')}`, 'v', {});
    assert.equal(made.node.value, 'v');
    const read = await ok(etcd, 'raw', 'GET', `v2/keys${key('f')}`, null, { quorum: true });
    assert.equal(read.node.value, 'v');
    assert.equal((await ok(etcd, 'raw', 'DELETE', `v2/keys${key('f')}`, null, {})).action, 'delete');
  });
});
