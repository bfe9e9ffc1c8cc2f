// SPDX-License-Identifier: GPL-2.0-or-later
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { load } from './load.mjs';

const table = load('mptcp-proxy.connections');

const c = (token, rx, local, n = 1, peer = 'p') => ({ token, rx_bytes: rx, tx_bytes: 0, local, remote: 'r', peer, subflows: new Array(n) });
const list = [ c('a', 5, '10.1.1.10:1'), c('b', 50, '10.1.1.9:1', 3, null), c('c', 5, '10.1.1.2:1', 2, 'q') ];
const tokens = (by, down) => table.sorted(list, by, down).map(x => x.token).join('');

test('numbers sort as numbers', () => assert.equal(tokens('rx', true), 'bac'));
test('addresses sort by their numbers', () => assert.equal(tokens('local', false), 'cba'));
test('subflows sort by how many there are', () => assert.equal(tokens('subflows', true), 'bca'));
test('a connection without a peer sorts first', () => assert.equal(tokens('peer', false), 'bac'));
test('equal rows keep one order, whichever way', () => assert.equal(tokens('tx', true), tokens('tx', false)));
test('an unknown column is the default', () => assert.equal(tokens('constructor', true), tokens('rx', true)));
test('the list itself is left alone', () => { tokens('rx', true); assert.equal(list[0].token, 'a') });

test('a click sorts, a second one turns round', () => {
	assert.deepEqual(table.clicked({ by: 'rx', down: true }, 'rx'), { by: 'rx', down: false });
	assert.deepEqual(table.clicked({ by: 'rx', down: true }, 'local'), { by: 'local', down: false });
	assert.deepEqual(table.clicked({ by: 'local', down: false }, 'tx'), { by: 'tx', down: true });
});
