// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Replies of the agent for the tests, all held against schema/ by replies.test.mjs.
 */

export const NOW = Date.UTC(2026, 10, 22, 15, 0, 0) / 1000;

const POINTS = 150;

/* Rates that look like a download: rises, wobbles, and is the same at every run */
function rates(level, seed) {
	return Array.from({ length: POINTS }, (_, i) => Math.round(
		level * Math.min(1, i / 30) * (0.85 + 0.1 * Math.sin(i / 7 + seed) + 0.05 * Math.sin(i * 1.7 + seed))));
}

export function wan(n, changes = {}) {
	const rx = rates(40e6 / n, n);
	const tx = rates(2e6 / n, n + 3);
	const address = `10.${n}.${n}.2`;

	return {
		name: `wan${n}`, interface: `wan${n}`, device: `eth${n}`, role: 'subflow', up: true, reason: '',
		addresses: [ { address, prefix: 24, gateway: `10.${n}.${n}.1` } ],
		health: {
			state: 'up', rtt: 12.4 * n, loss: 0, since: NOW - 3700 * n, cause: 'probes answered',
			paths: [ { address: `10.${n}.${n}.70`, state: 'up', rtt: 12.4 * n, loss: 0, mtu: null } ]
		},
		endpoints: [ { id: n, address, flags: [ 'subflow' ] } ],
		subflows: 3, rx_bytes: Math.round(1.5e9 / n), tx_bytes: Math.round(8e7 / n), rx_rate: rx.at(-1), tx_rate: tx.at(-1), rates: { rx, tx },
		...changes
	};
}

export function down(n, cause) {
	return wan(n, {
		health: { state: 'down', rtt: null, loss: 1, since: NOW - 42, cause, paths: [ { address: `10.${n}.${n}.70`, state: 'down', rtt: null, loss: 1, mtu: null } ] },
		endpoints: [], subflows: 0, rx_rate: 0, tx_rate: 0
	});
}

export function unplugged(n) {
	return { ...down(n, 'link down'), up: false, reason: 'no carrier', addresses: [], rates: { rx: [], tx: [] } };
}

export function status(changes = {}) {
	return {
		version: '0.1.0', time: NOW, state: 'active', reason: '2 of 2 links carry traffic to r7000', since: NOW - 7200,
		engine: { name: 'sing-box', version: '1.12.22', mptcp: 'native', processes: [ { name: 'client', running: true, pid: 4711 } ] },
		client: {
			peer: 'r7000', address: '10.1.1.70', port: 8388, mode: 'proxy',
			peers: [ { name: 'r7000', addresses: [ '10.1.1.70', '10.2.2.70' ], state: 'in use' }, { name: 'vps', addresses: [ '198.51.100.7' ], state: 'standby' } ],
			redirect: { backend: 'nftables', port: 1080, devices: [ 'br-lan' ], packets: 1234, bytes: 74040 },
			left_alone: []
		},
		server: null,
		wans: [ wan(1), wan(2) ],
		mptcp: { enabled: true, limits: { subflows: 8, add_addr_accepted: 8 }, connections: 3, fallbacks: 0, counters: { MPCapableSYNTX: 42, MPJoinSynAckRx: 40 } },
		buffers: { rmem: 8388608, wmem: 4194304, reason: 'twice what the links hold' },
		sampling: { interval: 2, points: POINTS },
		problems: [],
		history: [
			{ time: NOW - 7200, what: 'state', from: 'degraded', to: 'active', reason: 'all links healthy' },
			{ time: NOW - 7205, what: 'wan wan2', from: 'down', to: 'up', reason: '2 probes answered' },
			{ time: NOW - 97260, what: 'peer', from: 'vps', to: 'r7000', reason: 'r7000 answers again' }
		],
		...changes
	};
}

export function connection(n, changes = {}) {
	return {
		token: `0badc0d${n}`, role: 'client', local: `10.1.1.2:4000${n}`, remote: '10.1.1.70:8388', peer: 'r7000',
		rx_bytes: 1e6 * n, tx_bytes: 9e4 / n, fallback: false,
		subflows: [ 1, 2 ].map(w => ({
			id: w - 1, local: `10.${w}.${w}.2:4${w}00${n}`, remote: `10.${w}.${w}.70:8388`, wan: `wan${w}`, state: 'ESTABLISHED',
			rx_bytes: 5e5 * n, tx_bytes: 4e4, rtt: 12.4 * w, cwnd: 48, retransmits: w, backup: false
		})),
		...changes
	};
}

export function connections(...list) {
	return { connections: list, total: list.length };
}

export const CHECK = { checks: [
	{ name: 'kernel', result: 'ok', message: 'MPTCP is built in and on', hint: '' },
	{ name: 'engine', result: 'ok', message: 'sing-box 1.12.22', hint: '' },
	{ name: 'jsonschema', result: 'ok', message: "not installed (optional): the agent's own reader validates", hint: '' },
	{ name: 'mwan3', result: 'warning', message: 'mwan3 runs, and changes routes or endpoints of the same WANs', hint: 'switch it off for the WANs of mptcp-proxy: service mwan3 stop' },
	{ name: 'firewall', result: 'failed', message: 'the WAN zone rejects port 8388', hint: 'uci add firewall rule\nuci set firewall.@rule[-1].dest_port=8388' }
] };

export const PLAN = { changes: [
	{ action: 'add', kind: 'endpoint', text: 'ip mptcp endpoint add 10.2.2.2 dev eth2 id 2 subflow' },
	{ action: 'remove', kind: 'rule', text: 'from 10.3.3.2 lookup 1003' },
	{ action: 'set', kind: 'firewall', text: 'table inet mptcp_proxy {\n\tchain SSREDIR { }\n}' }
], problems: [ 'peer vps: the name cannot be resolved' ] };

/* What a hostile link, peer or program could make the agent say: none of it may become markup */
export const HOSTILE = '<img src=x onerror="window.hacked=1"><b>&amp;"\'</b>';

export const EMPTY_PLAN = { changes: [], problems: [] };

const STATES = {
	active: '2 of 2 links carry traffic to r7000',
	degraded: 'wan2 is down: 3 probes lost',
	bypassed: 'no peer answers, the LAN goes out directly',
	blocked: 'no peer answers, and when_down is block',
	disabled: 'switched off in the configuration',
	error: 'no proxy program is installed'
};

export const nothing = () => status({
	state: 'disabled', reason: 'nothing is configured', engine: null, client: null, wans: [], history: [],
	mptcp: { enabled: true, limits: null, connections: 0, fallbacks: 0, counters: {} }, buffers: { rmem: null, wmem: null, reason: 'left alone' }
});

export const noLink = () => status({
	state: 'bypassed', reason: STATES.bypassed, wans: [ unplugged(1), unplugged(2) ],
	client: { ...status().client, peer: null, address: null, port: null, mode: 'bypass', redirect: null }
});

export const eight = () => status({ reason: '8 of 8 links carry traffic to r7000', wans: [ 1, 2, 3, 4, 5, 6, 7, 8 ].map(n => wan(n)) });

export function ipv6Only() {
	const six = n => wan(n, {
		addresses: [ { address: `2001:db8:${n}::1234:5678:9abc:def0`, prefix: 64, gateway: 'fe80::1' } ],
		endpoints: [ { id: n, address: `2001:db8:${n}::1234:5678:9abc:def0`, flags: [ 'subflow' ] } ],
		health: { ...wan(n).health, paths: [ { address: '2001:db8:ffff::70', state: 'up', rtt: 20, loss: 0, mtu: null } ] }
	});

	return status({ wans: [ six(1), six(2) ] });
}

/* A server probes nothing: its WANs have no paths */
const untested = { state: 'unknown', rtt: null, loss: 0, since: 0, cause: '', paths: [] };
const serving = n => wan(n, { health: untested, endpoints: [ { id: 99 + 2 * n, address: `10.${n}.${n}.70`, flags: [ 'signal' ] } ] });

export const server = () => status({
	client: null, reason: '2 WANs in use (wan1, wan2)',
	engine: { ...status().engine, processes: [ { name: 'server', running: true, pid: 5 } ] },
	server: { listen: [ '0.0.0.0' ], port: 8388, clients: 1, connections: 12 },
	wans: [ serving(1), serving(2) ]
});

export const backup = () => status({ wans: [ wan(1), wan(2, { role: 'backup', endpoints: [ { id: 2, address: '10.2.2.2', flags: [ 'subflow', 'backup' ] } ] }), wan(3, { role: 'off', endpoints: [] }) ] });

export const paths = () => status({ wans: [ wan(1, { health: { ...wan(1).health, paths: [
	{ address: '10.1.1.70', state: 'up', rtt: 12, loss: 0, mtu: 1400 }, { address: '198.51.100.7', state: 'down', rtt: null, loss: 1, mtu: null }
] } }) ] });

export const withProblems = () => status({
	state: 'degraded', reason: '2 problems in the configuration',
	problems: [
		{ where: 'mptcp-proxy.vps.port', message: "'abc': not a whole number", hint: 'allowed is a whole number from 1 to 65535', severity: 'error' },
		{ where: 'mptcp-proxy.client.timeout', message: "'1': out of range", hint: '', severity: 'warning' },
		{ where: 'nft', message: 'not installed', hint: 'install nftables-json', severity: 'error' }
	]
});

export function hostile() {
	const h = HOSTILE;

	return status({
		version: h, reason: h,
		engine: { name: h, version: h, mptcp: 'native', processes: [ { name: 'client', running: false, pid: null } ] },
		client: { ...status().client, peer: h, address: h, peers: [ { name: h, addresses: [ h ], state: 'in use' } ], redirect: { ...status().client.redirect, devices: [ h ] }, left_alone: [ { interface: h, what: h, section: h, because: h, unread: h } ] },
		server: { listen: [ h ], port: 1, clients: 1, connections: 1 },
		wans: [ wan(1, {
			name: h, interface: h, device: `${h}2`, addresses: [ { address: h, prefix: 24, gateway: h } ],
			health: { ...down(1, h).health, paths: [ { address: h, state: 'up', rtt: 1, loss: 0, mtu: null }, { address: h, state: 'down', rtt: null, loss: 1, mtu: null } ] },
			endpoints: [ { id: 1, address: h, flags: [ 'subflow' ] } ]
		}) ],
		mptcp: { ...status().mptcp, counters: { [h]: 1 } },
		buffers: { rmem: 1, wmem: 1, reason: h },
		problems: [ { where: h, message: h, hint: h, severity: 'error' }, { where: `mptcp-proxy.${h}.${h}`, message: h, hint: h, severity: 'warning' } ],
		history: [ { time: NOW, what: `wan ${h}`, from: h, to: h, reason: h }, { time: NOW, what: h, from: h, to: h, reason: h } ]
	});
}

export const hostileConnections = () => connections(connection(1, {
	token: HOSTILE, local: HOSTILE, remote: HOSTILE, peer: HOSTILE,
	subflows: [ { ...connection(1).subflows[0], local: HOSTILE, remote: HOSTILE, wan: HOSTILE, state: HOSTILE } ]
}));

export const hostileCheck = () => ({ checks: [ { name: HOSTILE, result: 'failed', message: HOSTILE, hint: HOSTILE } ] });
export const hostilePlan = () => ({ changes: [ { action: 'add', kind: HOSTILE, text: `${HOSTILE}\n${HOSTILE}` } ], problems: [ HOSTILE ] });

/* A status in each state, as a word of the agent's */
export const inState = state => status({ state, reason: STATES[state], wans: state == 'degraded' ? [ wan(1), down(2, '3 probes lost') ] : [ wan(1), wan(2) ] });

export const statuses = () => ({
	...Object.fromEntries(Object.keys(STATES).map(state => [ state, inState(state) ])),
	nothing: nothing(), noLink: noLink(), eight: eight(), ipv6Only: ipv6Only(), server: server(), backup: backup(),
	paths: paths(), withProblems: withProblems(), hostile: hostile()
});

export { STATES };
