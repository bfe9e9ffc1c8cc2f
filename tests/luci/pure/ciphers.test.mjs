// SPDX-License-Identifier: GPL-2.0-or-later
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { load } from './load.mjs';

const ciphers = load('mptcp-proxy.ciphers');
const { METHODS } = load('mptcp-proxy.schema');
const zeroes = n => new Uint8Array(n);
const all = Object.values(METHODS).flat();

test('an unknown engine has every method', () => {
	assert.deepEqual(ciphers.offered(undefined), ciphers.offered('auto'));
	assert.deepEqual(new Set(ciphers.offered(null)), new Set(all));
});

test('the recommended method is known to every engine', () => {
	for (const engine of Object.keys(METHODS))
		assert.ok(ciphers.offered(engine).includes(ciphers.RECOMMENDED));
});

test('what is generated is accepted', () => {
	for (const method of all)
		assert.equal(ciphers.checkPassword(method, ciphers.generate(method, zeroes)), true, method);
});

test('a key of the method 2022-… has its length and is base64', () => {
	const check = key => ciphers.checkPassword('2022-blake3-aes-128-gcm', key);

	assert.equal(check('AAAAAAAAAAAAAAAAAAAAAA=='), true);
	for (const key of [ '', 'AAAA', 'secret', 'AAAAAAAAAAAAAAAAAAAAAA', 'AAAAAAAAAAAAAAAAAAAAAAAA', '!AAAAAAAAAAAAAAAAAAAAA==' ])
		assert.equal(typeof(check(key)), 'string', key);
});

test('several keys are for clients only, and for methods that have them', () => {
	const two = Array(2).fill('AAAAAAAAAAAAAAAAAAAAAA==').join(':');
	const long = Array(2).fill(ciphers.generate('2022-blake3-chacha20-poly1305', zeroes)).join(':');

	assert.equal(ciphers.checkPassword('2022-blake3-aes-128-gcm', two, true), true);
	assert.equal(typeof(ciphers.checkPassword('2022-blake3-aes-128-gcm', two, false)), 'string');
	assert.equal(typeof(ciphers.checkPassword('2022-blake3-chacha20-poly1305', long, true)), 'string');
});

test('a password is needed, but for none', () => {
	assert.equal(ciphers.checkPassword('none', ''), true);
	assert.equal(typeof(ciphers.checkPassword('aes-128-gcm', '')), 'string');
	assert.equal(ciphers.checkPassword('aes-128-gcm', 'pässword :"\''), true);
	assert.equal(typeof(ciphers.checkPassword('aes-128-gcm', 'a\u0007')), 'string');
});
