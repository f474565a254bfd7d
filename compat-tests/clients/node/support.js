// What the node-etcd suites share: a client of the server under test, a directory of keys for each test, and
// promises over node-etcd's callbacks. The base URLs come from COMPAT_URLS; nothing else is known of the server.
'use strict';

const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const Etcd = require('node-etcd');

const URLS = (process.env.COMPAT_URLS || '').split(',').filter(Boolean);
if (URLS.length === 0) throw new Error('COMPAT_URLS is not set: give the base URLs of the server');

const PATIENCE_MS = 30000;
const EXPIRY_GRACE_S = 5;

// No retries: a failure must show itself, not be tried again.
const connect = () => new Etcd(URLS, { clientOptions: { maxRetries: 0 } });

const home = () => `/compat-${randomBytes(6).toString('hex')}`;

// Calls a method of the client and resolves to { err, body, headers }.
const call = (etcd, method, ...args) =>
  new Promise((resolve) => etcd[method](...args, (err, body, headers) => resolve({ err, body, headers })));

// Calls a method that must succeed, and resolves to the body.
const ok = async (etcd, method, ...args) => {
  const { err, body } = await call(etcd, method, ...args);
  assert.equal(err, null, `${method} ${args[0]}: ${err && err.message} ${JSON.stringify(err && err.errors)}`);
  return body;
};

// Calls a method that the server must refuse with this code, message and cause.
const refused = async (expected, etcd, method, ...args) => {
  const { err, headers } = await call(etcd, method, ...args);
  assert.ok(err, `${method} ${args[0]} was not refused`);
  assertRefused(expected, err);
  assert.equal(headers['x-etcd-index'], String(err.error.index));
  return err;
};

const assertRefused = ({ code, message, cause }, err) => {
  const { errorCode, message: said, cause: why, index } = err.error || {};
  assert.deepEqual({ errorCode, said, why }, { errorCode: code, said: message, why: cause }, err.stack);
  assert.equal(err.errorCode, code);
  assert.ok(Number.isSafeInteger(index) && index > 0, `index ${index}`);
};

// Asks until `condition` holds, and gives what it said; fails naming `what`.
const eventually = async (what, condition, withinMs = PATIENCE_MS) => {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const answer = await condition();
    if (answer) return answer;
    assert.ok(Date.now() < deadline, `${what}: not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

module.exports = { URLS, PATIENCE_MS, EXPIRY_GRACE_S, connect, home, call, ok, refused, assertRefused, eventually };
