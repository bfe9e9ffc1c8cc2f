// SPDX-License-Identifier: GPL-2.0-or-later
/* The part on LuCI's own status page */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { eventually, open, refresh, screenshot, world } from './harness.mjs';
import * as r from './replies.mjs';

const PAGE = 'status/overview';
const widget = page => page.locator('.mptcp-widget');

async function shown(t, w, options) {
	const page = await open(t, PAGE, w, options);

	await widget(page).waitFor();

	return page;
}

test('the state, and a line for each WAN', async t => {
	const page = await shown(t, world({ status: r.inState('degraded') }));
	const lines = await page.locator('.mptcp-widget-wans > div').allInnerTexts();

	assert.match(await widget(page).innerText(), /Degraded[\s\S]*wan2 is down: 3 probes lost/);
	assert.match(lines[0], /Healthy\s*wan1\s*↓ 33\.2 Mbit\/s\s+↑ 1\.70 Mbit\/s/);
	assert.match(lines[1], /Down\s*wan2\s*↓ 0 bit\/s/);
	assert.match(await widget(page).locator('a').getAttribute('href'), /services\/mptcp-proxy\/status$/);
	await widget(page).scrollIntoViewIfNeeded();
	await screenshot(page, 'widget');
});

test('it follows', async t => {
	const w = world({ status: r.inState('active') });
	const page = await shown(t, w);

	w.status = r.inState('error');
	await refresh(page, w);
	await eventually(async () => assert.match(await widget(page).innerText(), /Error/));
	w.status = 'absent';
	await refresh(page, w);
	await eventually(async () => assert.match(await widget(page).innerText(), /Not running/));
});

test('a silent agent does not hold up the page', async t => {
	const w = world({ status: 'silent' });
	const page = await open(t, PAGE, w);

	await eventually(() => assert.ok(w.calls.includes('status')));
	await page.clock.runFor(2500);
	await widget(page).waitFor();
	assert.match(await widget(page).innerText(), /No answer/);
});

test('who may not see the proxy does not see it', async t => {
	const w = world({ status: 'denied' });
	const page = await open(t, PAGE, w);

	await eventually(() => assert.ok(w.calls.includes('status')));
	await page.waitForTimeout(300);
	assert.equal(await widget(page).count(), 0);
});

test('nothing configured', async t => {
	const page = await shown(t, world({ status: r.nothing() }));

	assert.match(await widget(page).innerText(), /Switched off/);
});

test('eight WANs, on a phone', async t => {
	const page = await shown(t, world({ status: r.eight() }), { width: 390 });

	assert.equal(await page.locator('.mptcp-widget-wans > div').count(), 8);
});

test('hostile texts stay text', async t => {
	const page = await shown(t, world({ status: r.hostile() }), { width: 390 });

	assert.match(await widget(page).innerText(), /<img src=x/);
});
