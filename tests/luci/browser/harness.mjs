// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opens a page of the app in headless Chromium, with a world (see router.mjs) behind it: on the
 * stand-in runtime, or on a real LuCI when LUCI_URL, LUCI_USER and LUCI_PASSWORD are given. The
 * real LuCI renders, and logs in, by itself; only what the agent and UCI would say is replaced.
 */
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { chromium } from 'playwright-core';
import { config, networks, rpc } from './router.mjs';
import { serve } from './server.mjs';

export const REAL = process.env.LUCI_URL?.replace(/\/$/, '');

/* A router is never behind a proxy, whatever this machine uses for the rest of the world */
for (const name of [ 'http_proxy', 'https_proxy', 'all_proxy' ]) {
	delete process.env[name];
	delete process.env[name.toUpperCase()];
}

let browser, server, cookies;

before(async () => {
	browser = await chromium.launch({
		executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
		args: [ '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
			'--disable-background-networking', '--disable-component-update', '--disable-sync' ]
	});

	if (REAL)
		cookies = await login();
	else
		server = await serve();
});

after(async () => {
	await browser?.close();
	server?.close();
});

async function login() {
	const context = await browser.newContext();
	const reply = await context.request.post(`${REAL}/cgi-bin/luci/`, {
		form: { luci_username: process.env.LUCI_USER ?? 'root', luci_password: process.env.LUCI_PASSWORD ?? '' }
	});
	const found = await context.cookies();

	await context.close();

	if (!found.length)
		throw new Error(`cannot log in at ${REAL}: ${reply.status()}`);

	return found;
}

export function world(parts = {}) {
	const { interfaces, network } = networks(
		[ 'lan', 'br-lan', '192.168.78.1', false ], [ 'wan1', 'eth1', '10.1.1.2', true ],
		[ 'wan2', 'eth2', '10.2.2.2', true ], [ 'guest', 'br-guest', '192.168.9.1', false ]);
	const { sections, ...rest } = parts;

	return { calls: [], serial: 0, interfaces, uci: { 'mptcp-proxy': config(sections ?? {}), network }, ...rest };
}

/*
 * A page. path: below …/admin/, such as services/mptcp-proxy/status#x.y; options: width and
 * height of the screen, dark, permissions of the browser.
 */
export async function open(t, path, w, { width = 1100, height = 900, dark = false, permissions = [] } = {}) {
	let page;
	const context = await browser.newContext({
		viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', locale: 'en-GB', timezoneId: 'UTC', permissions
	});

	t.after(async () => {
		await sound(page);
		await page.unrouteAll({ behavior: 'ignoreErrors' });
		await context.close();
	});

	if (cookies)
		await context.addCookies(cookies);

	page = await context.newPage();

	await page.clock.install();

	page.errors = [];
	page.on('pageerror', error => page.errors.push(String(error)));
	page.on('console', message => message.type() == 'error' && !/Failed to load resource/.test(message.text()) && page.errors.push(message.text()));
	page.on('dialog', dialog => { page.errors.push(`dialog: ${dialog.message()}`); dialog.dismiss() });
	page.setDefaultTimeout(20000);

	if (REAL) {
		await page.route(/\/ubus(\/|\?|$)/, async route => {
			const others = () => route.fetch().then(response => response.json());

			await route.fulfill({ json: await rpc(w, route.request().postDataJSON(), others) }).catch(() => {});
		});
		await page.route(/\/admin\/uci\//, route => {
			w.calls.push(route.request().url().replace(/.*\/admin\//, ''));

			return route.fulfill({ status: 200, json: {} });
		});
	}
	else {
		await context.setExtraHTTPHeaders({ 'X-World': server.add(w) });
	}

	await page.goto(`${REAL ?? server.url}/cgi-bin/luci/admin/${path}`);

	return page;
}

/* Until it holds, or the deadline: what a page does takes its time */
export async function eventually(check, deadline = 15000) {
	for (const end = Date.now() + deadline; ; await new Promise(resolve => setTimeout(resolve, 50)))
		try {
			return await check();
		}
		catch (error) {
			if (Date.now() > end)
				throw error;
		}
}

/* Lets the page's own clock run on, past its next poll */
export async function refresh(page, w) {
	const before = w.calls.length;

	await page.clock.runFor(5000);
	await eventually(() => assert.ok(w.calls.length > before, 'the page does not poll'));
	await page.waitForTimeout(100);
}

/* LuCI lets the rejection go on with which a form refuses a value */
const REFUSAL = /contains an invalid input value|must not be empty|Choose at least one WAN/;

/* What must hold of every page */
async function sound(page) {
	assert.deepEqual(page.errors.filter(error => !REFUSAL.test(error)), []);
	assert.equal(await page.evaluate(() => window.hacked), undefined, 'a hostile text became code');
	assert.equal(await page.locator('img[src="x"]').count(), 0, 'a hostile text became markup');

	const wide = await page.evaluate(() => {
		const screen = document.documentElement.clientWidth;

		return document.documentElement.scrollWidth <= screen ? [] : [ ...document.querySelectorAll('.mptcp-proxy *') ]
			.filter(node => node.getBoundingClientRect().right > screen + 1).map(node => `${node.nodeName}.${node.className} ${node.textContent.slice(0, 40)}`);
	});

	assert.deepEqual(wide, [], 'wider than the screen');
}

/* The field of an option, whatever LuCI makes of it */
export function field(page, section, option, config_ = 'mptcp-proxy') {
	return page.locator(`[data-field="cbid.${config_}.${section}.${option}"]`);
}

export async function screenshot(page, name) {
	if (process.env.SCREENSHOTS)
		await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}.png`, fullPage: true });
}
