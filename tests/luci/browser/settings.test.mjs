// SPDX-License-Identifier: GPL-2.0-or-later
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { eventually, field, open, screenshot, world } from './harness.mjs';
import * as r from './replies.mjs';

const PAGE = 'services/mptcp-proxy/settings';

const SECTIONS = {
	globals: { type: 'globals', enabled: '1' },
	r7000: { type: 'peer', address: [ '10.1.1.70', '10.2.2.70' ], method: 'none' },
	vps: { type: 'peer', address: [ 'vps.example.org' ], port: '8400', method: 'chacha20-ietf-poly1305', password: 'secret' },
	client: { type: 'client', enabled: '1', peer: [ 'r7000', 'vps' ], when_down: 'block', timeout: '600' },
	wan1: { type: 'wan', interface: 'wan1' },
	wan2: { type: 'wan', interface: 'wan2', role: 'backup' }
};

const usual = (changes = {}) => world({ sections: structuredClone(SECTIONS), status: r.status(), ...changes });
const config = w => w.uci['mptcp-proxy'];
const tab = (page, name) => page.locator(`.cbi-tabmenu li[data-tab="${name}"] a`).click();
const input = (page, section, option) => field(page, section, option).locator('input:not([type="hidden"])').first();
const modal = page => page.locator('.modal');

/* LuCI has one for a list and one for the input in it */
async function tooltip(page, section, option) {
	const all = field(page, section, option).locator('[data-tooltip]');

	await all.first().waitFor();

	return (await all.evaluateAll(nodes => nodes.map(node => node.getAttribute('data-tooltip')))).join('; ');
}

async function shown(t, w, hash = '', options = {}) {
	const page = await open(t, PAGE + hash, w, options);

	await page.locator('.cbi-map, .alert-message').first().waitFor();

	return page;
}

/* Save the page, and wait until the router has it, or until it is refused */
async function save(page) {
	await page.locator('.cbi-page-actions .cbi-button-save').click();
	await page.waitForTimeout(300);
}

async function add(page, section, option, value) {
	const list = field(page, section, option);

	/* LuCI looks at a value when a key comes up */
	await list.locator('.add-item input').first().fill(value);
	await list.locator('.add-item input').first().press('End');
	await list.locator('.add-item .cbi-button-add').click();
}

function options(section) {
	return Object.fromEntries(Object.entries(section).filter(([ name ]) => !name.startsWith('.')));
}

test('what is configured is in the fields, and saving it changes nothing', async t => {
	const w = usual();
	const page = await shown(t, w);

	await tab(page, 'client');
	assert.equal(await input(page, 'client', 'timeout').inputValue(), '600');
	assert.equal(await input(page, 'client', 'local_port').getAttribute('placeholder'), '1080');
	assert.equal(await field(page, 'client', 'when_down').locator('select').inputValue(), 'block');
	assert.deepEqual(await field(page, 'client', 'peer').locator('.item span').allInnerTexts(), [ 'r7000', 'vps' ]);
	await save(page);

	await page.waitForTimeout(200);

	const written = Object.fromEntries(Object.entries(config(w)).map(([ name, section ]) => [ name, { type: section['.type'], ...options(section) } ]));

	assert.deepEqual(written, SECTIONS);
});

test('nothing configured: defaults are shown, and roles that stay off leave no section', async t => {
	const w = usual({ sections: {} });
	const page = await shown(t, w);

	assert.equal(await input(page, 'globals', 'enabled').isChecked(), true);
	await tab(page, 'client');
	assert.equal(await input(page, 'client', 'enabled').isChecked(), false);
	assert.equal(await field(page, 'client', 'timeout').isVisible(), false);
	await save(page);
	assert.deepEqual(Object.keys(config(w)), [ 'globals' ]);
	assert.deepEqual(options(config(w).globals), { enabled: '1' });
});

test('flags in the other words of UCI are shown as they are meant, and stay so', async t => {
	const w = usual({ sections: {
		globals: { type: 'globals', enabled: 'yes' },
		r7000: { type: 'peer', address: [ '10.1.1.70' ] },
		client: { type: 'client', enabled: 'on', peer: [ 'r7000' ], fast_open: 'true' },
		server: { type: 'server', enabled: 'off' }
	} });
	const page = await shown(t, w);

	assert.equal(await input(page, 'globals', 'enabled').isChecked(), true);
	await tab(page, 'client');
	assert.equal(await input(page, 'client', 'enabled').isChecked(), true);
	assert.equal(await input(page, 'client', 'fast_open').isChecked(), true);
	await tab(page, 'server');
	assert.equal(await input(page, 'server', 'enabled').isChecked(), false);
	await save(page);
	await eventually(() => assert.equal(config(w).globals.enabled, '1'));
	assert.equal(config(w).client.enabled, '1');
	assert.equal(config(w).client.fast_open, '1');
	assert.ok([ undefined, '0' ].includes(config(w).server.enabled));
});

test('of two client sections the one that the agent uses is shown and changed', async t => {
	const w = usual({ sections: {
		r7000: { type: 'peer', address: [ '10.1.1.70' ] },
		old: { type: 'client', enabled: '0', peer: [ 'r7000' ], timeout: '100' },
		client: { type: 'client', enabled: '1', peer: [ 'r7000' ], timeout: '600' }
	} });
	const page = await shown(t, w);

	await tab(page, 'client');
	assert.equal(await input(page, 'client', 'timeout').inputValue(), '600');
	await input(page, 'client', 'timeout').fill('700');
	await save(page);
	await eventually(() => assert.equal(config(w).client.timeout, '700'));
	assert.deepEqual(options(config(w).old), { enabled: '0', peer: [ 'r7000' ], timeout: '100' });
});

test('a client needs a peer', async t => {
	const w = usual({ sections: {} });
	const page = await shown(t, w);

	await tab(page, 'client');
	await input(page, 'client', 'enabled').check();
	await save(page);
	assert.deepEqual(Object.keys(config(w)), []);
	await modal(page).getByText('Peers').waitFor();
});

test('a role that is switched off keeps its settings', async t => {
	const w = usual();
	const page = await shown(t, w);

	await tab(page, 'client');
	await input(page, 'client', 'enabled').uncheck();
	assert.equal(await field(page, 'client', 'timeout').isVisible(), false);
	await save(page);
	await eventually(() => assert.equal(config(w).client.enabled, '0'));
	assert.equal(config(w).client.timeout, '600');
	assert.deepEqual(config(w).client.peer, [ 'r7000', 'vps' ]);
});

test('what the schema does not allow is refused, with what it does', async t => {
	const w = usual();
	const page = await shown(t, w);
	const wrong = async (section, option, value, message) => {
		await input(page, section, option).fill(value);
		await input(page, section, option).blur();
		assert.match(await tooltip(page, section, option), message);
	};

	await wrong('globals', 'buffers', '123', /form/);
	await input(page, 'globals', 'buffers').fill('1000000');
	await tab(page, 'client');
	await wrong('client', 'timeout', '5', /10 and 86400/);
	await wrong('client', 'local_port', '65536', /1 and 65535/);
	await add(page, 'client', 'bypass', '10.0.0.0/33');
	assert.match(await tooltip(page, 'client', 'bypass'), /IP address or prefix/);
	await save(page);
	assert.equal(config(w).client.timeout, '600');
	assert.equal(config(w).globals.buffers, undefined);
});

test('what is right is written as UCI has it', async t => {
	const w = usual();
	const page = await shown(t, w);

	await input(page, 'globals', 'buffers').fill('off');
	await field(page, 'globals', 'log_level').locator('select').selectOption('debug');
	await tab(page, 'client');
	await input(page, 'client', 'timeout').fill('');
	await add(page, 'client', 'bypass', '203.0.113.0/24');
	await add(page, 'client', 'bypass', '2001:db8::/32');
	await field(page, 'client', 'fast_open').locator('input').check();
	await save(page);
	await eventually(() => assert.deepEqual(config(w).client.bypass, [ '203.0.113.0/24', '2001:db8::/32' ]));
	assert.equal(config(w).client.timeout, undefined);
	assert.equal(config(w).client.fast_open, '1');
	assert.deepEqual(options(config(w).globals), { enabled: '1', buffers: 'off', log_level: 'debug' });
});

test('a server without encryption has to say who may connect', async t => {
	const w = usual({ sections: {} });
	const page = await shown(t, w);

	await tab(page, 'server');
	await input(page, 'server', 'enabled').check();
	await field(page, 'server', 'port').waitFor();
	assert.equal(await field(page, 'server', 'password').isVisible(), false);
	await screenshot(page, 'settings-server');
	await save(page);
	await modal(page).getByText('Allowed networks').waitFor();
	assert.equal(config(w).server, undefined);
	await page.locator('.modal button').last().click();

	await add(page, 'server', 'allow', '10.1.1.0/24');
	await save(page);
	await eventually(() => assert.deepEqual(config(w).server.allow, [ '10.1.1.0/24' ]));
	assert.equal(config(w).server.enabled, '1');
});

test('a password is hidden, can be shown, and made as the method needs it', async t => {
	const page = await shown(t, usual({ sections: {} }));

	await tab(page, 'server');
	await input(page, 'server', 'enabled').check();

	for (const [ method, bytes ] of [ [ '2022-blake3-aes-128-gcm', 16 ], [ '2022-blake3-chacha20-poly1305', 32 ], [ 'aes-256-gcm', 18 ] ]) {
		await field(page, 'server', 'method').locator('select').selectOption(method);
		await field(page, 'server', 'password').locator('.mptcp-generate').click();
		await eventually(async () => assert.equal(Buffer.from(await input(page, 'server', 'password').inputValue(), 'base64').length, bytes));
		assert.equal(await field(page, 'server', 'password').locator('.cbi-input-invalid').count(), 0);
	}

	await field(page, 'server', 'method').locator('select').selectOption('2022-blake3-aes-256-gcm');
	await input(page, 'server', 'password').fill('too short');
	await input(page, 'server', 'password').blur();
	assert.match(await tooltip(page, 'server', 'password'), /32 bytes/);
});

test('a stored password is hidden until it is asked for', async t => {
	const page = await shown(t, usual(), '#vps.password');

	await modal(page).locator('[data-name="password"]').waitFor();
	assert.equal(await input(page, 'vps', 'password').getAttribute('type'), 'password');
	await modal(page).locator('[aria-label="Reveal/hide password"]').click();
	assert.equal(await input(page, 'vps', 'password').getAttribute('type'), 'text');
	assert.equal(await input(page, 'vps', 'password').inputValue(), 'secret');
	await screenshot(page, 'settings-peer');
});

test('the methods are those of the installed engine, and the one that is configured', async t => {
	const w = usual({ sections: { ...structuredClone(SECTIONS), server: { type: 'server', enabled: '1', method: 'rc4-md5', password: 'x' } } });

	w.status = r.status({ engine: { ...r.status().engine, name: 'shadowsocks-libev' } });

	const page = await shown(t, w);
	const methods = await field(page, 'server', 'method').locator('option').evaluateAll(all => all.map(one => one.value));

	assert.equal(methods.some(method => method.startsWith('2022-')), false);
	assert.ok(methods.includes('none') && methods.includes('aes-192-gcm') && methods.includes('rc4-md5'));
	assert.equal(await field(page, 'server', 'method').locator('select').inputValue(), 'rc4-md5');
});

test('peers: a grid, with a dialog for each', async t => {
	const w = usual();
	const page = await shown(t, w);

	await tab(page, 'peer');
	assert.match(await page.locator('tr[data-sid="r7000"]').innerText(), /10\.1\.1\.70, 10\.2\.2\.70\s+8388\s+none/);
	assert.equal((await page.locator('.cbi-map').innerText()).includes('secret'), false);
	await screenshot(page, 'settings-peers');

	await page.locator('[data-tab="peer"] .cbi-section-create input').fill('office');
	await page.locator('[data-tab="peer"] .cbi-section-create input').press('End');
	await page.locator('[data-tab="peer"] .cbi-section-create .cbi-button-add').click();
	await modal(page).locator('[data-name="address"]').waitFor();
	await modal(page).locator('.cbi-button-positive').click();
	await page.waitForTimeout(200);
	assert.equal(config(w).office?.address, undefined);

	await add(page, 'office', 'address', 'not_a_host!');
	assert.match(await tooltip(page, 'office', 'address'), /hostname/);
	await add(page, 'office', 'address', '2001:db8::70');
	await field(page, 'office', 'method').locator('select').selectOption('aes-128-gcm');
	await modal(page).locator('.cbi-button-positive').click();
	await page.waitForTimeout(200);
	assert.equal(config(w).office?.method, undefined);

	await field(page, 'office', 'password').locator('.mptcp-generate').click();
	await modal(page).locator('.cbi-button-positive').click();
	await eventually(() => assert.deepEqual(config(w).office?.address, [ '2001:db8::70' ]));
	assert.equal(config(w).office.password.length, 24);
	await page.locator('tr[data-sid="office"]').waitFor();

	await page.locator('tr[data-sid="vps"] .cbi-button-remove').click();
	await eventually(() => assert.equal(config(w).vps, undefined));
});

test('a peer just added can be chosen for the client, without loading the page again', async t => {
	const w = usual();
	const page = await shown(t, w);
	const peers = () => field(page, 'client', 'peer');

	await tab(page, 'peer');
	await page.locator('[data-tab="peer"] .cbi-section-create input').fill('office');
	await page.locator('[data-tab="peer"] .cbi-section-create input').press('End');
	await page.locator('[data-tab="peer"] .cbi-section-create .cbi-button-add').click();
	await modal(page).locator('[data-name="address"]').waitFor();
	await add(page, 'office', 'address', '192.0.2.70');
	await modal(page).locator('.cbi-button-positive').click();
	await page.locator('tr[data-sid="office"]').waitFor();
	await eventually(async () => assert.equal(await modal(page).isVisible(), false));

	await tab(page, 'client');

	/* LuCI's own list of choices */
	if (await peers().locator('.cbi-dropdown').count()) {
		await peers().locator('.cbi-dropdown').click();
		await peers().locator('li[data-value="office"]').first().click();
	}
	else {
		assert.equal(await peers().locator('option[value="office"]').count(), 1);
		await add(page, 'client', 'peer', 'nobody');
		assert.match(await tooltip(page, 'client', 'peer'), /no peer of this name/);
		await add(page, 'client', 'peer', 'office');
	}

	await save(page);
	await eventually(() => assert.deepEqual(config(w).client.peer, [ 'r7000', 'vps', 'office' ]));
});

test('WANs: the networks to choose from, each once, eight at most', async t => {
	const w = usual();
	const page = await shown(t, w);

	await tab(page, 'wan');
	assert.match(await page.locator('tr[data-sid="wan2"]').innerText(), /wan2[\s\S]*As a backup/);
	await screenshot(page, 'settings-wans');
	await page.locator('tr[data-sid="wan2"] .cbi-button-edit').click();
	await modal(page).locator('[data-name="probe_interval"]').waitFor();
	assert.equal(await modal(page).locator('h4').innerText(), 'WAN wan2');
	await modal(page).locator('[data-name="probe_timeout"] input').fill('99');
	await modal(page).locator('.cbi-button-positive').click();
	await page.waitForTimeout(200);
	assert.equal(config(w).wan2.probe_timeout, undefined);
	await modal(page).locator('[data-name="probe_timeout"] input').fill('100');
	await modal(page).locator('[data-name="role"] select').selectOption('off');
	await modal(page).locator('.cbi-button-positive').click();
	await eventually(() => assert.deepEqual(options(config(w).wan2), { interface: 'wan2', role: 'off', probe_timeout: '100' }));
});

test('eight WANs, and no place for a ninth', async t => {
	const wans = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [ `w${i}`, { type: 'wan', interface: `wan${i}` } ]));
	const page = await shown(t, usual({ sections: wans }));

	await tab(page, 'wan');
	assert.equal(await page.locator('[data-tab="wan"] .cbi-button-add').count(), 0);
	await page.getByText('8 WANs at most').waitFor();
});

test('the network of another WAN is refused', async t => {
	const w = usual({ sections: { a: { type: 'wan', interface: 'wan1' }, b: { type: 'wan', interface: 'wan1' } } });
	const page = await shown(t, w);

	await tab(page, 'wan');
	await page.locator('tr[data-sid="b"] .cbi-button-edit').click();
	await modal(page).locator('[data-name="role"] select').selectOption('off');
	await modal(page).locator('.cbi-button-positive').click();
	await page.waitForTimeout(200);
	assert.equal(config(w).b.role, undefined);
});

test('a link from the status page opens the tab and points at the field', async t => {
	const page = await shown(t, usual(), '#client.timeout');

	await page.locator('.mptcp-found[data-name="timeout"]').waitFor();
	assert.equal(await input(page, 'client', 'timeout').isVisible(), true);
	assert.equal(await page.evaluate(() => document.activeElement.closest('[data-name]')?.getAttribute('data-name')), 'timeout');
});

test('a link to what is not there does no harm', async t => {
	for (const hash of [ '#gone.port', '#%3Cimg%20src=x%20onerror=hacked=1%3E.x', '#', '#client' ])
		await shown(t, usual(), hash);
});

test('without an agent the settings can be changed all the same', async t => {
	for (const status of [ 'absent', 'silent' ]) {
		const w = usual({ status });
		const page = await open(t, PAGE, w);

		await eventually(() => assert.ok(w.calls.includes('status')));
		await page.clock.runFor(6000);
		await page.locator('.alert-message').waitFor();
		assert.match(await page.locator('.alert-message').innerText(), /all the same/);
		assert.equal(await field(page, 'globals', 'engine').isVisible(), true);
	}
});

test('a login that may not read the settings is told so', async t => {
	const page = await shown(t, usual({ uciDenied: true }));

	await page.getByText('The settings cannot be read').waitFor();
	assert.equal(await page.locator('.cbi-page-actions button').count(), 0, 'nothing is there to be saved');
});

test('a phone: every tab and both dialogs', async t => {
	const page = await shown(t, usual(), '', { width: 390 });

	for (const name of [ 'globals', 'client', 'server', 'peer', 'wan' ]) {
		await tab(page, name);
		assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth), name);
		await screenshot(page, `settings-phone-${name}`);
	}

	await page.locator('tr[data-sid="wan1"] .cbi-button-edit').click();
	await modal(page).locator('[data-name="probe_fail"]').waitFor();
	await screenshot(page, 'settings-phone-dialog');
});

test('hostile texts in the configuration stay text', async t => {
	const h = r.HOSTILE;
	const page = await shown(t, usual({ sections: {
		globals: { type: 'globals', enabled: '1', engine: h, buffers: h, log_level: h },
		p: { type: 'peer', address: [ h ], port: h, method: h, password: h },
		client: { type: 'client', enabled: '1', peer: [ h ], lan: [ h ], bypass: [ h ], when_down: h, timeout: h, local_port: h },
		server: { type: 'server', enabled: '1', listen: [ h ], port: h, method: h, password: h, allow: [ h ] },
		w: { type: 'wan', interface: h, role: h, probe_interval: h }
	}, status: r.hostile() }));

	for (const name of [ 'client', 'server', 'wan', 'peer' ])
		await tab(page, name);

	await page.locator('tr[data-sid="p"] .cbi-button-edit').click();
	await modal(page).locator('[data-name="password"]').waitFor();
	await page.waitForTimeout(200);
	await modal(page).locator('.button-row button').first().click();
	await tab(page, 'wan');
	await page.locator('tr[data-sid="w"] .cbi-button-edit').click();
	await modal(page).locator('[data-name="probe_fail"]').waitFor();
	await page.waitForTimeout(200);
});
