// SPDX-License-Identifier: GPL-2.0-or-later
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { load, shipped } from './load.mjs';

const setup = load('mptcp-proxy.setup');

const client = { role: 'client', address: [ '10.1.1.70' ], port: '', method: 'none', password: 'left over', wans: [ 'wan1', 'wan2' ] };
const server = { role: 'server', port: '', method: 'none', password: '', allow: [ '10.1.1.0/24' ], wans: [ 'wan1', 'wan2' ] };
const section = (type, name, options) => ({ '.type': type, '.name': name, ...options });

test('a client from nothing', () => assert.deepEqual(setup.changes(client, []), [
	{ type: 'globals', name: 'globals', options: { enabled: '1' } },
	{ type: 'peer', name: 'peer1', options: { address: [ '10.1.1.70' ], port: null, method: 'none', password: null } },
	{ type: 'client', name: 'client', options: { enabled: '1', peer: [ 'peer1' ] } },
	{ type: 'wan', name: 'wan1', options: { interface: 'wan1' } },
	{ type: 'wan', name: 'wan2', options: { interface: 'wan2' } }
]));

test('a server from nothing', () => assert.deepEqual(
	setup.changes({ role: 'server', port: '8400', method: 'aes-128-gcm', password: 'x', allow: [], wans: [ 'wan' ] }, [])[1],
	{ type: 'server', name: 'server', options: { enabled: '1', port: '8400', method: 'aes-128-gcm', password: 'x', allow: null } }));

/* The sections after the changes, as the page writes them */
function after(changes, sections) {
	const result = new Map(sections.map(s => [ s['.name'], { ...s } ]));

	for (const { type, name, options, remove } of changes) {
		if (remove)
			result.delete(name);
		else
			result.set(name, { '.type': type, '.name': name, ...result.get(name), ...options });
	}

	return result;
}

test('a server from the package as it comes is no client too, least of all of the example', () => {
	const made = after(setup.changes(server, shipped()), shipped());

	assert.equal(made.get('globals').enabled, '1');
	assert.equal(made.get('server').enabled, '1');
	assert.deepEqual(made.get('server').allow, [ '10.1.1.0/24' ]);
	assert.equal(made.get('client').enabled, '0');
	assert.equal(made.has('r7000'), false);
});

test('a client from the package as it comes has a peer of its own', () => {
	const made = after(setup.changes(client, shipped()), shipped());

	assert.deepEqual([ ...made.keys() ].sort(), [ 'client', 'globals', 'peer1', 'server', 'wan1', 'wan2' ]);
	assert.deepEqual(made.get('client').peer, [ 'peer1' ]);
	assert.equal(made.get('client').enabled, '1');
	assert.equal(made.get('server').enabled, '0');
});

test('what somebody has made of the example, or has switched on, stays', () => {
	const own = shipped().map(s => s['.name'] == 'r7000' ? { ...s, address: [ '192.0.2.1' ] } : s);
	const on = shipped().map(s => s['.type'] == 'globals' ? { ...s, enabled: '1' } : s);

	assert.equal(after(setup.changes(server, own), own).has('r7000'), true);
	assert.equal(after(setup.changes(server, on), on).has('r7000'), true);
	assert.equal(after(setup.changes(server, on), on).get('client').enabled, '1');
});

test('the peer in use is changed, the others stay behind it', () => {
	const changes = setup.changes(client, [ section('peer', 'a'), section('peer', 'b'), section('client', 'c', { peer: [ 'b', 'a', 'gone' ] }) ]);

	assert.equal(changes.find(c => c.type == 'peer').name, 'b');
	assert.deepEqual(changes.find(c => c.type == 'client'), { type: 'client', name: 'c', options: { enabled: '1', peer: [ 'b', 'a' ] } });
});

test('WANs that are not ticked go, those that are stay as they are, or are switched on', () => {
	const changes = setup.changes({ ...client, wans: [ 'wan1', 'wan2', 'eth0.2' ] }, [
		section('wan', 'x', { interface: 'wan1', role: 'off' }), section('wan', 'y', { interface: 'old' }),
		section('wan', 'wan2', { interface: 'wan2', role: 'backup' }), section('peer', 'eth0_2')
	]).filter(c => c.type == 'wan');

	assert.deepEqual(changes, [
		{ type: 'wan', name: 'y', remove: true },
		{ type: 'wan', name: 'x', options: { role: null } },
		{ type: 'wan', name: 'wan2', options: {} },
		{ type: 'wan', name: 'eth0_2_2', options: { interface: 'eth0.2' } }
	]);
});

test('no more WANs than the kernel has places for', () => assert.equal(
	setup.changes({ ...client, wans: Array.from({ length: 12 }, (_, i) => `w${i}`) }, []).filter(c => c.type == 'wan').length, 8));

test('the form begins with what is configured', () => {
	const begun = setup.beginning([
		section('server', 's', { enabled: '1', port: '9000', method: 'aes-128-gcm', password: 'x', allow: '10.1.1.0/24 10.2.2.0/24' }),
		section('wan', 'w', { interface: 'wan1' })
	], [], 'new');

	assert.deepEqual(begun, { role: 'server', address: [], port: '9000', method: 'aes-128-gcm', password: 'x', allow: [ '10.1.1.0/24', '10.2.2.0/24' ], wans: [ 'wan1' ] });
});

test('but not with the example of the package, which is switched off', () => assert.deepEqual(
	setup.beginning([ section('globals', 'g', { enabled: '0' }), section('peer', 'p', { address: [ '10.1.1.70' ], password: 'x' }), section('wan', 'w', { interface: 'wan1' }) ],
		[ { name: 'wan', likely: true } ], 'best'),
	{ role: 'client', address: [], port: '', method: 'best', password: '', allow: [], wans: [ 'wan' ] }));

test('and else with what works everywhere', () => {
	const begun = setup.beginning([], [ { name: 'wan', likely: true }, { name: 'guest', likely: false } ], 'best');

	assert.deepEqual(begun, { role: 'client', address: [], port: '', method: 'best', password: '', allow: [], wans: [ 'wan' ] });
});

test('WANs are chosen from networks, likely ones have a way out, one for each device', () => {
	const route = [ { target: '0.0.0.0', mask: 0 } ];
	const networks = setup.candidates([
		{ interface: 'loopback', l3_device: 'lo' }, { interface: 'lan', l3_device: 'br-lan' },
		{ interface: 'wan', l3_device: 'eth1', up: true, route, 'ipv4-address': [ { address: '192.0.2.2' } ] },
		{ interface: 'wan6', l3_device: 'eth1', up: true, 'ipv6-address': [ { address: '2001:db8::2' } ] },
		{ interface: 'lte', l3_device: 'wwan0', up: true, route }, { interface: 'wanb', up: false }, { interface: 'guest', l3_device: 'br-guest', up: true }
	], [ 'lan' ]);

	assert.deepEqual(networks.map(l => `${l.name} ${l.likely}`), [ 'wan true', 'wan6 false', 'lte true', 'wanb true', 'guest false' ]);
	assert.equal(networks[0].address, '192.0.2.2');
	assert.equal(networks[1].address, '2001:db8::2');
});
