// SPDX-License-Identifier: GPL-2.0-or-later
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { load } from './load.mjs';

const { datatype, flag, isOn, theOne } = load('mptcp-proxy.options');

test('a range is checked by LuCI itself', () => assert.equal(datatype('peer', 'port'), 'and(uinteger,range(1,65535))'));

test('so is an address, also where it is one of a list', () => {
	assert.equal(datatype('peer', 'address'), 'host');
	assert.equal(datatype('server', 'listen'), 'ipaddr("nomask")');
	assert.equal(datatype('client', 'bypass'), 'ipaddr');
});

test('any text will do where the schema says no more, and what is chosen needs no check', () => {
	assert.equal(datatype('peer', 'password'), undefined);
	assert.equal(datatype('client', 'lan'), undefined);
	assert.equal(datatype('wan', 'role'), undefined);
});

test('a flag in the words of UCI, else the default', () => {
	for (const [ text, value ] of [ [ '1', true ], [ ' Yes ', true ], [ 'OFF', false ], [ 'disabled', false ], [ '', null ], [ '2', null ], [ 'constructor', null ], [ undefined, null ] ])
		assert.equal(flag(text), value, text);

	assert.equal(isOn('client', 'enabled', undefined), true);
	assert.equal(isOn('server', 'enabled', undefined), false);
});

test('of two sections of a role the one that is on counts, as the agent has it', () => {
	const section = (type, name, enabled) => ({ '.type': type, '.name': name, enabled });
	const one = (type, ...all) => theOne(all, type)?.['.name'];

	assert.equal(one('client', section('client', 'a', 'off'), section('client', 'b', 'yes'), section('client', 'c', '1')), 'b');
	assert.equal(one('client', section('client', 'a', '0'), section('client', 'b')), 'b');
	assert.equal(one('server', section('server', 'a'), section('server', 'b', '1')), 'b');
	assert.equal(one('server', section('server', 'a'), section('server', 'b', '0')), 'a');
	assert.equal(one('globals', section('globals', 'a', '0'), section('globals', 'b', '1')), 'a');
	assert.equal(one('client', section('server', 'a', '1')), undefined);
});
