// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';
'require mptcp-proxy.options as options';

/*
 * What the assistant's answers come to. Pure: answers and the sections there are go in, a list
 * of changes comes out, each { type, name, options } with null for an option to take away, or
 * { type, name, remove: true }.
 *
 * answers: role 'client' | 'server', address [], port, method, password, allow [], wans []
 */

function named(sections, type) {
	return sections.filter(s => s['.type'] == type).map(s => s['.name']);
}

/* A name for UCI that is still free: wan1 -> wan1, eth0.2 -> eth0_2, and a number where taken */
function freeName(sections, wish) {
	const taken = new Set(sections.map(s => s['.name']));
	const name = wish.replace(/[^A-Za-z0-9_]/g, '_');
	let n = 1;

	if (!taken.has(name))
		return name;

	while (taken.has(`${name}_${++n}`));

	return `${name}_${n}`;
}

function list(value) {
	return [].concat(value ?? []).flatMap(v => String(v).split(/\s+/)).filter(v => v != '');
}

/* The WANs: ticked ones are there and in use, all others are gone */
function wanChanges(ticked, sections) {
	const present = sections.filter(s => s['.type'] == 'wan');
	const changes = present.filter(s => !ticked.includes(s.interface))
		.map(s => ({ type: 'wan', name: s['.name'], remove: true }));

	for (const name of ticked.slice(0, options.MAX_WANS)) {
		const old = present.find(s => s.interface == name);

		changes.push(old
			? { type: 'wan', name: old['.name'], options: (old.role == 'off') ? { role: null } : {} }
			: { type: 'wan', name: freeName(sections, name), options: { interface: name } });
	}

	return changes;
}

/* The peer that the client uses first: it is the one the assistant asks about */
function firstPeer(sections) {
	const client = options.theOne(sections, 'client');
	const peers = named(sections, 'peer');

	return list(client?.peer).find(name => peers.includes(name)) ?? peers[0];
}

/* While all is switched off, what stands there is the package's example or nobody's any more */
function isOff(sections) {
	return sections.some(s => s['.type'] == 'globals' && !options.isOn('globals', 'enabled', s.enabled));
}

/* The peer of the package's example, as it came: nobody's router is behind it */
function isExample(section) {
	return section['.type'] == 'peer' && section['.name'] == 'r7000' && list(section.address).join() == '10.1.1.70,10.2.2.70';
}

/* Only from the state the package comes in: whoever has switched the proxy on has chosen the roles.
 * The example's client is on, and would make a server a client too, of a peer that is not there. */
function exampleChanges(role, sections) {
	if (!isOff(sections))
		return [];

	const peers = sections.filter(isExample).map(s => ({ type: 'peer', name: s['.name'], remove: true }));
	const clients = sections.filter(s => s['.type'] == 'client' && role == 'server')
		.map(s => ({ type: 'client', name: s['.name'], options: { enabled: '0' } }));

	return [ ...peers, ...clients ];
}

function changes(answers, all) {
	const clearing = exampleChanges(answers.role, all);
	const sections = all.filter(s => !clearing.some(change => change.remove && change.name == s['.name']));
	const only = type => options.theOne(sections, type)?.['.name'] ?? type;
	const secret = { method: answers.method, password: (answers.method == 'none') ? null : answers.password };
	const port = answers.port || null;
	const result = [ { type: 'globals', name: only('globals'), options: { enabled: '1' } }, ...clearing ];

	if (answers.role == 'client') {
		const peer = firstPeer(sections) ?? freeName(sections, 'peer1');
		const client = options.theOne(sections, 'client');
		const others = list(client?.peer).filter(name => name != peer && named(sections, 'peer').includes(name));

		result.push(
			{ type: 'peer', name: peer, options: { address: list(answers.address), port, ...secret } },
			{ type: 'client', name: only('client'), options: { enabled: '1', peer: [ peer, ...others ] } });
	}
	else {
		const allow = list(answers.allow);

		result.push({ type: 'server', name: only('server'), options: { enabled: '1', port, ...secret, allow: allow.length ? allow : null } });
	}

	return [ ...result, ...wanChanges(list(answers.wans), sections) ];
}

/* What the form of the assistant begins with: what is configured, else what works everywhere.
 * While all is switched off that is the package's example, which is of no use to anybody. */
function beginning(all, found, method) {
	const sections = isOff(all) ? [] : all;
	const server = options.theOne(sections, 'server') ?? {};
	const peer = sections.find(s => s['.name'] == firstPeer(sections)) ?? {};
	const role = options.isOn('server', 'enabled', server.enabled) ? 'server' : 'client';
	const far = (role == 'server') ? server : peer;
	const wans = sections.filter(s => s['.type'] == 'wan').map(s => s.interface);

	return {
		role,
		address: list(peer.address),
		port: far.port ?? '',
		method: far.password ? (far.method ?? 'none') : method,
		password: far.password ?? '',
		allow: list(server.allow),
		wans: wans.length ? wans : found.filter(network => network.likely).map(network => network.name)
	};
}

/* The networks a WAN can be, of netifd's dump: not loopback, not the LAN. Likely ones have a
 * default route or are called wan…; of several on one device (wan and wan6) the first. */
function candidates(dump, lan) {
	const devices = new Set();

	return dump.filter(i => i.interface != 'loopback' && !lan.includes(i.interface)).map(i => {
		const device = i.l3_device ?? i.device ?? '';
		const first = device == '' || !devices.has(device);
		const out = (i.route ?? []).some(r => r.mask === 0) || i.interface.startsWith('wan');
		const address = [ ...(i['ipv4-address'] ?? []), ...(i['ipv6-address'] ?? []) ].map(a => a.address)[0];

		devices.add(device);

		return { name: i.interface, device, address: address ?? '', up: !!i.up, likely: first && out };
	});
}

return baseclass.extend({ changes, beginning, candidates });
