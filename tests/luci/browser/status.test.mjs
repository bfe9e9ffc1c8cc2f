// SPDX-License-Identifier: GPL-2.0-or-later
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { REAL, eventually, open, refresh, screenshot, world } from './harness.mjs';
import * as r from './replies.mjs';

const PAGE = 'services/mptcp-proxy/status';
const usual = (changes = {}) => world({ status: r.status(), connections: r.connections(r.connection(1), r.connection(2)), check: r.CHECK, plan: r.PLAN, reload: {}, ...changes });
const pill = page => page.locator('.mptcp-banner > .mptcp-pill');
const text = async (page, selector) => (await page.locator(selector).allInnerTexts()).join('\n');
const count = (string, part) => string.split(part).length - 1;

async function shown(t, w, options, path = PAGE) {
	const page = await open(t, path, w, options);

	await pill(page).waitFor();

	return page;
}

test('each state has its word, its colour and its reason', async t => {
	const tones = { active: 'good', degraded: 'warn', bypassed: 'warn', blocked: 'bad', disabled: 'off', error: 'bad' };
	const words = { active: 'Active', degraded: 'Degraded', bypassed: 'Bypassed', blocked: 'Blocked', disabled: 'Switched off', error: 'Error' };
	const w = usual({ status: r.inState('active') });
	const page = await shown(t, w);

	for (const state of Object.keys(tones)) {
		w.status = r.inState(state);
		await refresh(page, w);
		await eventually(async () => assert.equal(await pill(page).innerText(), words[state]));
		assert.match(await pill(page).getAttribute('class'), new RegExp(`mptcp-${tones[state]}\\b`));
		/* that it is switched off stands in the pill already */
		assert.equal(await page.locator('.mptcp-reason').innerText(),
			state == 'disabled' ? 'The router is as if the package were not installed.' : r.STATES[state]);
	}
});

test('nothing configured: one step leads on, and there is no empty table', async t => {
	const page = await shown(t, usual({ status: r.nothing(), connections: r.connections() }));

	assert.match(await page.getByText('Start the assistant').getAttribute('href'), /services\/mptcp-proxy\/assistant$/);
	assert.equal(await page.locator('#view table, #view svg').count(), 0);
	await screenshot(page, 'status-nothing');
});

test('the agent is not running, and comes back', async t => {
	const w = usual({ status: 'absent', connections: 'absent' });
	const page = await shown(t, w);

	assert.equal(await pill(page).innerText(), 'Not running');
	assert.match(await text(page, '.mptcp-reason'), /not running/);
	assert.equal(await page.locator('.mptcp-card').count(), 0);
	await screenshot(page, 'status-not-running');

	Object.assign(w, usual(), { calls: w.calls });
	await refresh(page, w);
	await eventually(async () => assert.equal(await pill(page).innerText(), 'Active'));
});

test('an agent that is not running can be started', async t => {
	const w = usual({ status: 'absent', connections: 'absent', exec: { code: 1, stderr: 'no such jail' } });
	const page = await shown(t, w);
	const start = page.getByRole('button', { name: 'Start', exact: true });

	await start.click();
	await eventually(() => assert.ok(w.calls.includes('exec /etc/init.d/mptcp-proxy start')));
	await page.getByText('does not start: no such jail').waitFor();

	Object.assign(w, usual(), { calls: w.calls, exec: { code: 0 } });
	await start.click();
	await eventually(async () => assert.equal(await pill(page).innerText(), 'Active'));
	assert.equal(await start.count(), 0);
});

test('the agent gives no answer: said at once enough, and not asked again and again', async t => {
	const w = usual({ status: 'silent', connections: 'silent' });
	const page = await open(t, PAGE, w);

	await eventually(() => assert.ok(w.calls.includes('status')));
	await page.clock.runFor(6000);
	await pill(page).waitFor();
	assert.equal(await pill(page).innerText(), 'No answer');

	await page.clock.runFor(12000);
	assert.equal(w.calls.filter(call => call == 'status').length, 1);
});

test('the agent falls silent: what it said last stays, faded', async t => {
	const w = usual();
	const page = await shown(t, w);

	w.status = w.connections = 'silent';
	await refresh(page, w);
	await page.clock.runFor(6000);
	await eventually(async () => assert.equal(await pill(page).innerText(), 'No answer'));
	assert.equal(await page.locator('.mptcp-stale .mptcp-card').count(), 2);
});

test('an answer that is an error', async t => {
	const w = usual();
	const page = await shown(t, w);

	for (const [ status, word, reason ] of [
		[ 7, 'No answer', /does not answer/ ], [ 'denied', 'Not allowed', /may not see/ ], [ 4, 'Not running', /not running/ ],
		[ { error: `broken ${r.HOSTILE}` }, 'Error', /broken <img/ ], [ 9, 'Error', /error/ ]
	]) {
		w.status = status;
		await refresh(page, w);
		await eventually(async () => assert.equal(await pill(page).innerText(), word));
		assert.match(await text(page, '.mptcp-reason'), reason);
	}
});

test('connections that cannot be had do not hide the rest', async t => {
	const page = await shown(t, usual({ connections: 9 }));

	assert.equal(await page.locator('.mptcp-card').count(), 2);
	assert.match(await text(page, '[data-key="Connections"]'), /Error/);
});

test('a card says all there is of a WAN', async t => {
	const page = await shown(t, usual({ status: r.backup() }));
	const [ first, second, third ] = await page.locator('.mptcp-card').allInnerTexts();

	for (const part of [ 'wan1', 'eth1', 'Healthy', 'for 1 h 1 min', '10.1.1.2/24', '12 ms', '0 %', '1 (subflow)', '3' ])
		assert.ok(first.includes(part), `${part} in ${first}`);

	assert.match(second, /Standby[\s\S]*2 \(subflow, backup\)/);
	assert.match(third, /Not used/);
	assert.equal(await page.locator('[data-wan="wan1"] dd').first().locator('div').getAttribute('title'), 'gateway 10.1.1.1');
});

test('a WAN that is down says why, and since when comes second', async t => {
	const page = await shown(t, usual({ status: r.inState('degraded') }));

	assert.match(await text(page, '[data-wan="wan2"]'), /Down[\s\S]*3 probes lost[\s\S]*–/);
	assert.match(await text(page, '[data-wan="wan2"]'), /Share\s*–/);
});

test('several paths of a WAN are told apart', async t => {
	const page = await shown(t, usual({ status: r.paths() }));

	assert.match(await text(page, '[data-wan="wan1"]'), /10\.1\.1\.70: 12 ms\n198\.51\.100\.7: down/);
	assert.equal(count(await text(page, '[data-wan="wan1"]'), '12 ms'), 1);
});

test('no WAN is up', async t => {
	const page = await shown(t, usual({ status: r.noLink(), connections: r.connections() }));

	assert.equal(count(await text(page, '.mptcp-cards'), 'Not connected'), 2);
	assert.equal(count(await text(page, '.mptcp-cards'), 'no carrier'), 2);
	assert.doesNotMatch(await text(page, '.mptcp-cards'), /%/);
	assert.match(await text(page, '[data-key="Connections"]'), /No connections/);
	await screenshot(page, 'status-no-wan');
});

test('eight WANs, on a wide screen and on a phone', async t => {
	for (const width of [ 1100, 390 ]) {
		const page = await shown(t, usual({ status: r.eight() }), { width });

		assert.equal(await page.locator('.mptcp-card').count(), 8);
		assert.equal(await page.locator('svg').first().locator('polygon').count(), 8);
		assert.equal(new Set(await page.locator('polygon').evaluateAll(all => all.map(one => getComputedStyle(one).fill))).size, 8);
		await screenshot(page, `status-eight-${width}`);
	}
});

test('what the firewall refuses is named with its section', async t => {
	const alone = [ { interface: 'lan', what: '192.168.78.50', section: 'cam', because: "'Camera' (firewall.cam)", unread: '' } ];
	const page = await shown(t, usual({ status: r.status({ client: { ...r.status().client, left_alone: alone } }) }));

	assert.match(await page.locator('#view').textContent(), /lan \(192\.168\.78\.50\): 'Camera' \(firewall\.cam\)/);
});

test('IPv6 only, on a phone too', async t => {
	const long = '2001:db8:1::1234:5678:9abc:def0';
	const list = r.connections(r.connection(1, { local: `[${long}]:40001`, remote: '[2001:db8:ffff::70]:8388' }));

	for (const width of [ 1100, 390 ]) {
		const page = await shown(t, usual({ status: r.ipv6Only(), connections: list }), { width });

		assert.match(await text(page, '[data-wan="wan1"]'), /2001:db8:1::1234:5678:9abc:def0\/64/);
		await page.locator('[data-token]').first().click();
		await screenshot(page, `status-ipv6-${width}`);
	}
});

test('a server says whom it serves', async t => {
	const page = await shown(t, usual({ status: r.server(), connections: r.connections(r.connection(1, { role: 'server', peer: null })) }));

	await page.locator('summary').first().click();
	assert.match(await text(page, '.mptcp-details'), /0\.0\.0\.0 port 8388[\s\S]*1, with 12 connections/);
	assert.match(await text(page, '.mptcp-connections'), /a client/);
	assert.match(await text(page, '[data-wan="wan1"]'), /101 \(signal\)/);

	for (const pill of await page.locator('.mptcp-card .mptcp-pill').all()) {
		assert.equal(await pill.innerText(), 'Up');
		assert.match(await pill.getAttribute('class'), /mptcp-good/);
	}
});

test('the graph: one area for each WAN, the sum in the table', async t => {
	const status = r.status({ sampling: { interval: 2, points: 4 }, wans: [
		r.wan(1, { rates: { rx: [ 0, 1e6, 2e6 ], tx: [ 0, 0, 0 ] } }), r.wan(2, { rates: { rx: [ 1e6, 3e6, 1e6 ], tx: [ 1, 1, 1 ] } })
	] });
	const page = await shown(t, usual({ status }));
	const rows = await page.locator('[data-direction="Download"] tr').allInnerTexts();

	assert.deepEqual(rows.map(row => row.split(/\s*\t\s*/).map(cell => cell.trim())), [
		[ 'WAN', 'Now', 'Average', 'Peak' ],
		[ 'wan1', '2.00 Mbit/s', '1.00 Mbit/s', '2.00 Mbit/s' ],
		[ 'wan2', '1.00 Mbit/s', '1.67 Mbit/s', '3.00 Mbit/s' ],
		[ 'All WANs', '3.00 Mbit/s', '2.67 Mbit/s', '4.00 Mbit/s' ]
	]);
	assert.match(await text(page, '[data-direction="Download"] .mptcp-plot'), /5\.00 Mbit\/s[\s\S]*8 s ago/);
	assert.equal(await page.locator('[data-direction="Download"] polygon').nth(1).getAttribute('points'),
		'200.0,120.0 400.0,30.0 600.0,60.0 600.0,90.0 400.0,120.0 200.0,150.0');
});

test('the share of the traffic', async t => {
	const page = await shown(t, usual());

	assert.match(await text(page, '[data-wan="wan1"]'), /67 %/);
	assert.match(await page.locator('[data-wan="wan1"] .mptcp-bar > div').getAttribute('style'), /width: 66\.\d%/);
});

test('no value is shown twice', async t => {
	const page = await shown(t, usual({ connections: r.connections() }));

	await page.locator('summary').first().click();
	await page.locator('summary').nth(1).click();

	const all = await text(page, '.mptcp-proxy');
	const s = r.status();

	for (const value of [ s.reason, '10.1.1.2/24', '12 ms', '67 %', 'sing-box', '10.1.1.70', '33.2 Mbit/s', '47.5 Mbit/s', 'eth1', 'MPJoinSynAckRx', '8.00 MiB', 'all links healthy' ])
		assert.equal(count(all, value), 1, value);
});

test('a refresh moves nothing, and keeps what is focused, selected and open', async t => {
	const w = usual();
	const page = await shown(t, w);

	await page.locator('summary').first().click();
	await page.locator('[data-token]').first().click();
	await page.locator('[data-token] button').nth(1).focus();
	await page.evaluate(() => {
		for (const node of document.querySelectorAll('.mptcp-card, .mptcp-banner, svg, [data-connection], .mptcp-subflows, details, h3'))
			node.marked = true;
		getSelection().selectAllChildren(document.querySelector('.mptcp-reason'));
	});

	const boxes = () => page.locator('.mptcp-card, .mptcp-panel, h3, [data-connection], .mptcp-details dl').evaluateAll(all => all.map(node => {
		const { x, y, width, height } = node.getBoundingClientRect();

		return [ x, y, width, height ].map(Math.round).join(' ');
	}));
	const before = await boxes();

	w.status = r.status({ time: r.NOW + 3, wans: [ r.wan(1, { health: { ...r.wan(1).health, rtt: 118.6, loss: 0.004 }, subflows: 12 }), r.down(2, '') ] });
	w.connections = r.connections(r.connection(1, { rx_bytes: 1 }), r.connection(2));
	await refresh(page, w);
	await eventually(async () => assert.match(await text(page, '[data-wan="wan1"]'), /119 ms[\s\S]*< 1 %/));

	assert.deepEqual(await boxes(), before);
	assert.equal(await page.evaluate(() => [ ...document.querySelectorAll('.mptcp-card, .mptcp-banner, [data-connection], .mptcp-subflows, details, h3') ].every(node => node.marked)), true);
	assert.equal(await page.evaluate(() => document.activeElement.closest('[data-token]')?.getAttribute('data-token')), '0badc0d1');
	assert.equal(await page.evaluate(() => getSelection().toString()), r.status().reason);
	assert.equal(await page.locator('details').first().evaluate(node => node.open), true);
	assert.equal(await page.locator('.mptcp-subflows').count(), 1);
});

test('a new WAN and a WAN less', async t => {
	const w = usual();
	const page = await shown(t, w);

	w.status = r.status({ wans: [ r.wan(2), r.wan(3) ] });
	await refresh(page, w);
	await eventually(async () => assert.deepEqual(await page.locator('.mptcp-card strong').allInnerTexts(), [ 'wan2', 'wan3' ]));
});

test('the connection table sorts by a click, and unfolds the subflows', async t => {
	const page = await shown(t, usual());
	const order = () => page.locator('[data-connection]').evaluateAll(all => all.map(node => node.getAttribute('data-connection').at(-1)).join(''));
	const head = name => page.locator(`[data-column="${name}"]`);

	if ((page.viewportSize()).width > 600) {
		assert.equal(await order(), '21');
		await head('tx').click();
		assert.equal(await order(), '12');
		assert.equal(await page.locator('[data-key="tx"]').getAttribute('aria-sort'), 'descending');
		await head('tx').click();
		assert.equal(await order(), '21');
		assert.equal(await page.locator('[data-key="tx"]').getAttribute('aria-sort'), 'ascending');
		await head('local').click();
		assert.equal(await order(), '12');
	}

	await page.locator('[data-token="0badc0d2"]').click();

	const subflows = await text(page, '.mptcp-subflows');

	for (const part of [ 'wan1', 'wan2', '10.2.2.2:42002', '10.2.2.70:8388', 'ESTABLISHED', '25 ms', '48', '977 KiB' ])
		assert.ok(subflows.includes(part), part);

	/* by keyboard too */
	await page.locator('[data-token="0badc0d2"] button').press('Enter');
	assert.equal(await page.locator('.mptcp-subflows').count(), 0);
});

test('a connection that fell back to plain TCP stands out', async t => {
	const page = await shown(t, usual({ connections: r.connections(r.connection(1, { token: '', fallback: true, subflows: [] })) }));

	assert.match(await text(page, '[data-connection]'), /plain TCP/);
	assert.equal(await page.locator('[data-token]').count(), 0);
});

test('of many connections the first ones, until asked for more', async t => {
	const many = Array.from({ length: 120 }, (_, i) => r.connection(1, { token: `t${i}`, rx_bytes: i }));
	const page = await shown(t, usual({ connections: { connections: many, total: 700 } }));

	assert.equal(await page.locator('[data-connection]').count(), 50);
	assert.match(await text(page, '.mptcp-more'), /50 of 700 connections/);
	await page.getByText('Show more').click();
	assert.equal(await page.locator('[data-connection]').count(), 120);
	assert.match(await text(page, '.mptcp-more'), /120 of 700/);
	assert.equal(await page.getByText('Show more').count(), 0);
});

test('what changed lately, and why', async t => {
	const page = await shown(t, usual());

	assert.deepEqual((await page.locator('.mptcp-history .td').allInnerTexts()).slice(0, 8), [
		'13:00:00', 'Proxy', 'Degraded → Active', 'all links healthy', '12:59:55', 'wan2', 'down → up', '2 probes answered'
	]);
});

test('a problem leads to its field', async t => {
	const page = await shown(t, usual({ status: r.withProblems() }));
	const links = await page.locator('.mptcp-problems a').evaluateAll(all => all.map(a => a.getAttribute('href').replace(/.*admin\//, '')));

	assert.deepEqual(links, [ 'services/mptcp-proxy/settings#vps.port', 'services/mptcp-proxy/settings#client.timeout' ]);
	assert.equal(await page.locator('.mptcp-problems .danger').count(), 2);
	assert.match(await text(page, '.mptcp-problems'), /nft: not installed[\s\S]*install nftables-json/);
	await screenshot(page, 'status-problems');
});

test('Check: results with the way to mend, copied as text', async t => {
	const page = await shown(t, usual(), { permissions: [ 'clipboard-read', 'clipboard-write' ] });

	await page.getByRole('button', { name: 'Check' }).click();
	await page.locator('.mptcp-check').first().waitFor();
	assert.equal(await page.locator('.mptcp-check').count(), 5);
	assert.match(await text(page, '.mptcp-check[data-result="failed"]'), /To mend[\s\S]*firewall[\s\S]*uci set/);
	await screenshot(page, 'dialog-check');
	await page.getByText('Copy as text').click();
	await page.getByText('Copied').waitFor();
	assert.equal((await page.evaluate(() => navigator.clipboard.readText())).split('\n')[0], '[ok] kernel: MPTCP is built in and on');
	await page.getByText('Close').click();
});

test('Plan: what would change, as the field writes it', async t => {
	const page = await shown(t, usual(), { dark: true });

	await page.getByRole('button', { name: 'Plan' }).click();
	await page.locator('.mptcp-diff').waitFor();
	assert.equal((await page.locator('.mptcp-diff').textContent()).trim(), [
		'+ endpoint: ip mptcp endpoint add 10.2.2.2 dev eth2 id 2 subflow', '- rule: from 10.3.3.2 lookup 1003',
		'~ firewall: table inet mptcp_proxy {', '~ firewall: \tchain SSREDIR { }', '~ firewall: }', '! peer vps: the name cannot be resolved'
	].join('\n'));
	await screenshot(page, 'dialog-plan');
});

test('Plan: nothing to change; and without an agent', async t => {
	const w = usual({ plan: r.EMPTY_PLAN });
	const page = await shown(t, w);

	await page.getByRole('button', { name: 'Plan' }).click();
	await page.getByText('Nothing to change').waitFor();
	await page.getByText('Close').click();
	w.plan = 'absent';
	await page.getByRole('button', { name: 'Plan' }).click();
	await page.locator('.modal').getByText('not running').waitFor();
	assert.equal(await page.getByText('Copy as text').count(), 0);
});

test('Reload asks the agent to look again, and the page does too', async t => {
	const w = usual();
	const page = await shown(t, w);

	w.status = r.inState('degraded');
	await page.getByRole('button', { name: 'Reload' }).click();
	await eventually(async () => assert.equal(await pill(page).innerText(), 'Degraded'));
	assert.ok(w.calls.includes('reload'));
	await page.getByText('read and looked at again').waitFor();
	await refresh(page, w);
	await refresh(page, w);
	await eventually(async () => assert.equal(await page.getByText('read and looked at again').count(), 0));
});

test('who may only look has no Reload', { skip: REAL && 'needs a login with fewer rights' }, async t => {
	const page = await shown(t, usual(), {}, `${PAGE}?readonly`);

	assert.equal(await page.getByRole('button', { name: 'Reload' }).count(), 0);
	assert.equal(await page.getByRole('button', { name: 'Check' }).count(), 1);
});

test('a phone', async t => {
	const page = await shown(t, usual({ status: r.withProblems() }), { width: 390 });

	await page.locator('[data-token]').first().click();
	await page.locator('summary').first().click();
	await screenshot(page, 'status-phone');
});

test('a dark theme: every pill and every line of text can be read', async t => {
	for (const dark of [ false, true ]) {
		const page = await shown(t, usual({ status: r.backup() }), { dark });
		const low = await page.evaluate(() => {
			const channels = colour => colour.match(/[\d.]+/g).slice(0, 3).map(Number).map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
			const light = colour => channels(colour).reduce((sum, c, i) => sum + c * [ 0.2126, 0.7152, 0.0722 ][i], 0);
			const clear = colour => /, 0\)$|transparent/.test(colour);
			const ground = node => !node ? (matchMedia('(prefers-color-scheme: dark)').matches ? 'rgb(0, 0, 0)' : 'rgb(255, 255, 255)')
				: clear(getComputedStyle(node).backgroundColor) ? ground(node.parentElement) : getComputedStyle(node).backgroundColor;

			return [ ...document.querySelectorAll('.mptcp-pill, .mptcp-card dd, .mptcp-history .td, .mptcp-reason') ].map(node => {
				const [ a, b ] = [ light(getComputedStyle(node).color), light(ground(node)) ];

				return [ node.textContent, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) ];
			}).filter(([ , contrast ]) => contrast < 4.5);
		});

		assert.deepEqual(low, []);
		await screenshot(page, `status-${dark ? 'dark' : 'light'}`);
	}
});

test('hostile texts stay text, everywhere', async t => {
	for (const width of [ 1100, 390 ]) {
		const w = usual({ status: r.hostile(), connections: r.hostileConnections(), check: r.hostileCheck(), plan: r.hostilePlan() });
		const page = await shown(t, w, { width });

		assert.equal(await page.locator('.mptcp-reason').innerText(), r.HOSTILE);
		await page.locator('[data-token]').first().click();
		await page.locator('summary').first().click();
		await page.locator('summary').nth(1).click();
		await refresh(page, w);

		for (const name of [ 'Check', 'Plan' ]) {
			await page.getByRole('button', { name }).click();
			await page.locator('.modal').getByText('<img').first().waitFor();
			await page.getByText('Close').click();
		}
	}
});

test('in German', { skip: REAL && 'the translation is a package of its own' }, async t => {
	const page = await shown(t, usual(), {}, `${PAGE}?lang=de`);
	const all = await text(page, '.mptcp-proxy');

	for (const word of [ 'Aktiv', 'Verbindungen', 'Adresse' ])
		assert.ok(all.includes(word), word);
	for (const word of [ 'Healthy', 'Connections', 'Share' ])
		assert.ok(!all.includes(word), word);
});
