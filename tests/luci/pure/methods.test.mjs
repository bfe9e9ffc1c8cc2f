import { test } from 'node:test';
import assert from 'node:assert/strict';
import { load } from './load.mjs';

const methods = load('mptcp-proxy.methods');
const zeroes = n => new Uint8Array(n);
const all = Object.values(methods.ENGINES).flat();

test('an unknown engine has every method', () => {
	assert.deepEqual(methods.offered(undefined), methods.offered('auto'));
	assert.deepEqual(new Set(methods.offered(null)), new Set(all));
});

test('the recommended method is known to every engine', () => {
	for (const engine of Object.keys(methods.ENGINES))
		assert.ok(methods.offered(engine).includes(methods.RECOMMENDED));
});

test('what is generated is accepted', () => {
	for (const method of all)
		assert.equal(methods.checkPassword(method, methods.generate(method, zeroes)), true, method);
});

test('a key of the method 2022-… has its length and is base64', () => {
	const check = key => methods.checkPassword('2022-blake3-aes-128-gcm', key);

	assert.equal(check('AAAAAAAAAAAAAAAAAAAAAA=='), true);
	for (const key of [ '', 'AAAA', 'secret', 'AAAAAAAAAAAAAAAAAAAAAA', 'AAAAAAAAAAAAAAAAAAAAAAAA', '!AAAAAAAAAAAAAAAAAAAAA==' ])
		assert.equal(typeof(check(key)), 'string', key);
});

test('several keys are for clients only, and for methods that have them', () => {
	const two = Array(2).fill('AAAAAAAAAAAAAAAAAAAAAA==').join(':');
	const long = Array(2).fill(methods.generate('2022-blake3-chacha20-poly1305', zeroes)).join(':');

	assert.equal(methods.checkPassword('2022-blake3-aes-128-gcm', two, true), true);
	assert.equal(typeof(methods.checkPassword('2022-blake3-aes-128-gcm', two, false)), 'string');
	assert.equal(typeof(methods.checkPassword('2022-blake3-chacha20-poly1305', long, true)), 'string');
});

test('a password is needed, but for none', () => {
	assert.equal(methods.checkPassword('none', ''), true);
	assert.equal(typeof(methods.checkPassword('aes-128-gcm', '')), 'string');
	assert.equal(methods.checkPassword('aes-128-gcm', 'pässword :"\''), true);
	assert.equal(typeof(methods.checkPassword('aes-128-gcm', 'a\u0007')), 'string');
});
