// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The router a page talks to: answers LuCI's JSON-RPC calls from a plain object, the world.
 * The stand-in runtime and a real LuCI ask it alike; what it does not know, a real LuCI asks
 * its real router (see harness.mjs).
 */

const NOT_FOUND = { code: -32000, message: 'Object not found' };

/* UCI as rpcd keeps it: sections by config, changes staged at once, which is all a page sees */
function uci(world, method, args) {
	const sections = world.uci[args.config];

	if (!sections)
		return undefined;

	switch (method) {
	case 'get':
		return world.uciDenied ? [ 6 ] : [ 0, { values: structuredClone(sections) } ];

	case 'add': {
		const name = args.name ?? `cfg${String(++world.serial).padStart(2, '0')}4b1c`;

		sections[name] = { '.type': args.type, '.name': name, '.anonymous': !args.name, ...args.values };
		reindex(sections);

		return [ 0, { section: name } ];
	}

	case 'set':
		Object.assign(sections[args.section], args.values);
		return [ 0 ];

	case 'delete':
		if (args.options ?? args.option)
			for (const option of args.options ?? [ args.option ])
				delete sections[args.section][option];
		else
			delete sections[args.section];

		return [ 0 ];

	case 'order':
		return [ 0 ];
	}

	return undefined;
}

function reindex(sections) {
	Object.values(sections).forEach((section, i) => { section['.index'] = i });
}

function agent(world, method) {
	const reply = world[method];

	world.calls.push(method);

	if (reply === undefined || reply === 'absent')
		return { error: NOT_FOUND };

	if (reply === 'denied')
		return { error: { code: -32002, message: 'Access denied' } };

	/* never: the page has to live with it; a number is a ubus status */
	if (reply === 'silent')
		return new Promise(() => {});

	return { result: typeof(reply) == 'number' ? [ reply ] : [ 0, structuredClone(reply) ] };
}

/* One call -> { result } or { error } as JSON-RPC has it; undefined where this world knows nothing */
function answer(world, object, method, args) {
	if (object == 'luci.mptcp_proxy')
		return agent(world, method);

	if (object == 'file' && method == 'exec') {
		world.calls.push(`exec ${args.command} ${args.params.join(' ')}`);

		return { result: [ 0, world.exec ?? { code: 0 } ] };
	}

	if (object == 'network.interface' && method == 'dump')
		return { result: [ 0, { interface: structuredClone(world.interfaces) } ] };

	if (object == 'uci' && method == 'changes')
		return { result: [ 0, { changes: {} } ] };

	if (object == 'uci') {
		const result = uci(world, method, args);

		return result && { result };
	}

	return undefined;
}

/* The body of a request, one call or several, -> the body of the reply. What this world does not
 * know is asked of `others`, given the whole request. */
export async function rpc(world, asked, others) {
	const calls = [].concat(asked);
	const known = calls.map(call => call.method == 'call' ? answer(world, ...call.params.slice(1)) : undefined);
	const rest = known.includes(undefined) ? [].concat(await others?.() ?? []) : [];
	const results = await Promise.all(known);
	const replies = calls.map((call, i) => results[i] ? { jsonrpc: '2.0', id: call.id, ...results[i] }
		: rest[i] ?? { jsonrpc: '2.0', id: call.id, result: [ 4 ] });

	return Array.isArray(asked) ? replies : replies[0];
}

/* Sections as a file has them -> as rpcd gives them */
export function config(sections) {
	const result = {};

	for (const [ name, { type, ...options } ] of Object.entries(sections))
		result[name] = { '.type': type, '.name': name, '.anonymous': name.startsWith('cfg'), ...options };

	reindex(result);

	return result;
}

/* netifd's networks, also as /etc/config/network, which LuCI's own network.js reads */
export function networks(...names) {
	const interfaces = names.map(([ name, device, address, out ]) => ({
		interface: name, up: address != '', pending: false, available: true, proto: 'static',
		device, l3_device: device, 'ipv4-address': address && !address.includes(':') ? [ { address, mask: 24 } ] : [],
		'ipv6-address': address.includes(':') ? [ { address, mask: 64 } ] : [], 'ipv6-prefix': [], 'ipv6-prefix-assignment': [],
		route: out ? [ { target: '0.0.0.0', mask: 0, nexthop: '10.0.0.1' } ] : [], 'dns-server': [], 'dns-search': [], data: {}
	}));
	const network = Object.fromEntries(names.map(([ name, device ]) => [ name, { type: 'interface', proto: 'static', device } ]));

	return { interfaces, network: config(network) };
}
