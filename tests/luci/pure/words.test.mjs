// SPDX-License-Identifier: GPL-2.0-or-later
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { load, schema } from './load.mjs';

const words = load('mptcp-proxy.words');
const { properties } = schema('status');
const tones = [ 'good', 'warn', 'bad', 'off' ];

test('every state of the schema has a word and a colour', () => {
	for (const state of properties.state.enum) {
		assert.notEqual(words.state(state).label, state);
		assert.ok(tones.includes(words.state(state).tone));
	}
});

test('so have the ways of new connections, and the peers', () => {
	const { mode, peers } = properties.client.properties;

	const translated = load('mptcp-proxy.words', { _: text => `_${text}` });

	for (const name of mode.enum)
		assert.match(translated.mode(name), /^_/);
	for (const name of peers.items.properties.state.enum)
		assert.match(translated.peer(name), /^_/);
});

test('a word that is not known is shown as it is, also constructor', () => {
	assert.deepEqual(words.state('constructor'), { label: 'constructor', tone: 'off' });
	assert.equal(words.peer('toString'), 'toString');
});

test('a WAN in a word, and why', () => {
	const wan = (role, up, state, paths = [ {} ]) => words.wan({ role, up, reason: 'no carrier', health: { state, cause: '3 probes lost', paths } });

	assert.deepEqual(wan('off', true, 'up'), { label: 'Not used', tone: 'off', reason: '' });
	assert.deepEqual(wan('subflow', false, 'down'), { label: 'Not connected', tone: 'bad', reason: 'no carrier' });
	assert.deepEqual(wan('subflow', true, 'down'), { label: 'Down', tone: 'bad', reason: '3 probes lost' });
	assert.equal(wan('subflow', true, 'unknown').tone, 'warn');
	assert.equal(wan('subflow', true, 'up').label, 'Healthy');
	assert.equal(wan('backup', true, 'up').label, 'Standby');
	assert.deepEqual(wan('subflow', true, 'unknown', []), { label: 'Up', tone: 'good', reason: '' });
	assert.equal(wan('backup', true, 'unknown', []).label, 'Standby');
	assert.equal(wan('subflow', false, 'down', []).label, 'Not connected');
});

test('a problem of the configuration names its field', () => {
	assert.deepEqual(words.field('mptcp-proxy.r7000.port'), { section: 'r7000', option: 'port' });
	assert.deepEqual(words.field('mptcp-proxy.wan1'), { section: 'wan1', option: '' });
	for (const where of [ 'mptcp-proxy', 'engine sing-box', 'nft', '' ])
		assert.equal(words.field(where), null);
});
