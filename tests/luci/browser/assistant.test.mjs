// SPDX-License-Identifier: GPL-2.0-or-later
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { eventually, field, open, screenshot, world } from './harness.mjs';
import * as r from './replies.mjs';
import { shipped } from '../pure/load.mjs';

const PAGE = 'services/mptcp-proxy/assistant';
const usual = (changes = {}) => world({ sections: {}, status: r.nothing(), ...changes });
const config = w => w.uci['mptcp-proxy'];
const of = (page, option) => field(page, 'answers', option, 'json');
const text = (page, option) => of(page, option).locator('input:not([type="hidden"])').first();
const tick = (page, option, value) => of(page, option).locator(`input[value="${value}"]`);

async function shown(t, w, options) {
	const page = await open(t, PAGE, w, options);

	await page.locator('.cbi-map, .alert-message').first().waitFor();

	return page;
}

async function address(page, value) {
	await of(page, 'address').locator('.add-item input').fill(value);
	await of(page, 'address').locator('.add-item .cbi-button-add').click();
}

async function save(page) {
	await page.locator('.cbi-page-actions .cbi-button-save').click();
	await page.waitForTimeout(300);
}

function sections(w) {
	return Object.fromEntries(Object.entries(config(w)).map(([ name, section ]) => [ name,
		Object.fromEntries(Object.entries(section).filter(([ key ]) => key == '.type' || !key.startsWith('.'))) ]));
}

test('a client: an address, a password, and the WANs that were found', async t => {
	const w = usual();
	const page = await shown(t, w);

	assert.equal(await tick(page, 'role', 'client').isChecked(), true);
	assert.equal(await tick(page, 'wans', 'wan1').isChecked(), true);
	assert.equal(await tick(page, 'wans', 'wan2').isChecked(), true);
	assert.equal(await tick(page, 'wans', 'guest').isChecked(), false);
	assert.equal(await tick(page, 'wans', 'lan').count(), 0);
	assert.equal(await of(page, 'allow').isVisible(), false);

	await address(page, '10.1.1.70');
	await address(page, 'vps.example.org');
	await of(page, 'password').locator('.mptcp-generate').click();
	await screenshot(page, 'assistant');
	await save(page);

	await eventually(() => assert.deepEqual(Object.keys(sections(w)), [ 'globals', 'peer1', 'client', 'wan1', 'wan2' ]));

	const { password, ...peer } = sections(w).peer1;

	assert.equal(password.length, 24);
	assert.deepEqual(peer, { '.type': 'peer', address: [ '10.1.1.70', 'vps.example.org' ], method: 'chacha20-ietf-poly1305' });
	assert.deepEqual(sections(w).client, { '.type': 'client', enabled: '1', peer: [ 'peer1' ] });
	assert.deepEqual(sections(w).wan2, { '.type': 'wan', interface: 'wan2' });
	assert.deepEqual(sections(w).globals, { '.type': 'globals', enabled: '1' });
});

test('a server on networks of its own needs no password, but a list of who may connect', async t => {
	const w = usual();
	const page = await shown(t, w);

	await tick(page, 'role', 'server').check();
	await of(page, 'method').locator('select').selectOption('none');
	await eventually(async () => assert.equal(await of(page, 'password').isVisible(), false));
	assert.equal(await of(page, 'address').isVisible(), false);
	await text(page, 'port').fill('8400');
	await save(page);
	assert.deepEqual(sections(w), {});
	await page.locator('.modal button').last().click();

	await of(page, 'allow').locator('.add-item input').fill('10.1.1.0/24');
	await of(page, 'allow').locator('.add-item .cbi-button-add').click();
	await tick(page, 'wans', 'wan2').uncheck();
	await save(page);
	await eventually(() => assert.deepEqual(sections(w), {
		globals: { '.type': 'globals', enabled: '1' },
		server: { '.type': 'server', enabled: '1', port: '8400', method: 'none', allow: [ '10.1.1.0/24' ] },
		wan1: { '.type': 'wan', interface: 'wan1' }
	}));
});

test('a server on a router just installed is no client of the example', async t => {
	const w = usual({ sections: Object.fromEntries(shipped().map(({ '.type': type, '.name': name, ...options }) => [ name, { type, ...options } ])) });
	const page = await shown(t, w);

	await tick(page, 'role', 'server').check();
	await of(page, 'password').locator('.mptcp-generate').click();
	await save(page);
	await eventually(() => assert.equal(sections(w).server.enabled, '1'));
	assert.equal(sections(w).globals.enabled, '1');
	assert.equal(sections(w).client.enabled, '0');
	assert.equal(sections(w).r7000, undefined);
	assert.equal(sections(w).server.allow, undefined);
});

test('without an address, a password or a WAN there is nothing to save', async t => {
	const w = usual();
	const page = await shown(t, w);
	const refused = async () => {
		await save(page);
		assert.deepEqual(sections(w), {});
		await page.locator('.modal button').last().click();
	};

	await refused();
	await address(page, '10.1.1.70');
	await refused();
	await of(page, 'password').locator('.mptcp-generate').click();
	await tick(page, 'wans', 'wan1').uncheck();
	await tick(page, 'wans', 'wan2').uncheck();
	await refused();
	await tick(page, 'wans', 'guest').check();
	await save(page);
	await eventually(() => assert.equal(sections(w).guest?.interface, 'guest'));
});

test('it begins with what is configured, and keeps the rest', async t => {
	const w = usual({ status: r.status(), sections: {
		globals: { type: 'globals', engine: 'sing-box' },
		r7000: { type: 'peer', address: [ '10.1.1.70' ], port: '8400', method: 'aes-128-gcm', password: 'secret' },
		vps: { type: 'peer', address: [ '198.51.100.7' ] },
		client: { type: 'client', enabled: '0', peer: [ 'r7000', 'vps' ], timeout: '600' },
		old: { type: 'wan', interface: 'wan1', role: 'off' }
	} });
	const page = await shown(t, w);

	assert.deepEqual(await of(page, 'address').locator('.item span').allInnerTexts(), [ '10.1.1.70' ]);
	assert.equal(await text(page, 'port').inputValue(), '8400');
	assert.equal(await of(page, 'method').locator('select').inputValue(), 'aes-128-gcm');
	assert.equal(await tick(page, 'wans', 'wan2').isChecked(), false);
	await tick(page, 'wans', 'wan2').check();
	await save(page);
	await eventually(() => assert.equal(sections(w).old.role, undefined));
	assert.deepEqual(sections(w).wan2, { '.type': 'wan', interface: 'wan2' });
	assert.deepEqual(sections(w).client, { '.type': 'client', enabled: '1', peer: [ 'r7000', 'vps' ], timeout: '600' });
	assert.deepEqual(sections(w).globals, { '.type': 'globals', enabled: '1', engine: 'sing-box' });
	assert.deepEqual(sections(w).r7000, { '.type': 'peer', address: [ '10.1.1.70' ], port: '8400', method: 'aes-128-gcm', password: 'secret' });
	assert.deepEqual(sections(w).old, { '.type': 'wan', interface: 'wan1' });
});

test('Save & Apply applies', async t => {
	const w = usual();
	const page = await shown(t, w);

	await address(page, '10.1.1.70');
	await of(page, 'password').locator('.mptcp-generate').click();
	await page.locator('.cbi-page-actions .cbi-button-apply').first().click();
	await eventually(() => assert.ok(w.calls.some(call => call.startsWith('uci/apply'))));
	assert.equal(sections(w).client.enabled, '1');
});

test('the methods are those of the installed engine', async t => {
	const page = await shown(t, usual({ status: r.status({ engine: { ...r.status().engine, name: 'shadowsocks-libev' } }) }));
	const methods = await of(page, 'method').locator('option').evaluateAll(all => all.map(one => one.value));

	assert.equal(methods.some(method => method.startsWith('2022-')), false);
});

test('without an agent, and without networks', async t => {
	const page = await shown(t, usual({ status: 'absent', interfaces: [] }));

	assert.equal(await of(page, 'wans').locator('input').count(), 0);
});

test('a login that may not read the settings is told so', async t => {
	const page = await shown(t, usual({ uciDenied: true }));

	await page.getByText('The settings cannot be read').waitFor();
	assert.equal(await page.locator('.cbi-page-actions button').count(), 0, 'nothing is there to be saved');
});

test('a phone, in the dark', async t => {
	const page = await shown(t, usual(), { width: 390, dark: true });

	await screenshot(page, 'assistant-phone');
});

test('hostile names of networks stay text', async t => {
	const h = r.HOSTILE;
	const w = usual({ sections: { w: { type: 'wan', interface: h }, p: { type: 'peer', address: [ h ], method: h, password: h } } });

	w.interfaces.push({ interface: h, l3_device: h, up: true, 'ipv4-address': [ { address: h } ], route: [] });

	const page = await shown(t, w);

	assert.match(await of(page, 'wans').innerText(), /<img src=x/);
});
