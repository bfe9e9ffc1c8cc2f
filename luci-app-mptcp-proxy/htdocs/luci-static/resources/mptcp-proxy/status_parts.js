// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';
'require mptcp-proxy.format as format';
'require mptcp-proxy.graph as graph';
'require mptcp-proxy.words as words';

/*
 * The parts of the status page, each a function of the status document (schema/).
 */

const SETTINGS = L.url('admin/services/mptcp-proxy/settings');

function pill(word) {
	return E('span', { 'class': `mptcp-pill mptcp-${word.tone}` }, [ word.label ]);
}

function lines(pairs) {
	return E('dl', pairs.flatMap(([ name, value ]) => [ E('dt', [ name ]), E('dd', [].concat(value)) ]));
}

function addresses(wan) {
	if (!wan.addresses.length)
		return format.NOTHING;

	return wan.addresses.flatMap(a => E('div', {
		'title': a.gateway ? _('gateway %s').format(a.gateway) : ''
	}, [ `${a.address}/${a.prefix}` ]));
}

function endpoints(wan) {
	if (!wan.endpoints.length)
		return format.NOTHING;

	return wan.endpoints.map(e => E('div', { 'title': e.address }, [
		`${e.id}${e.flags.length ? ` (${e.flags.join(', ')})` : ''}`
	]));
}

/* Of each path, where there are several */
function roundTrips(wan) {
	if (wan.health.paths.length < 2)
		return format.roundTrip(wan.health.rtt);

	return wan.health.paths.map(path => E('div', {
		'class': path.state == 'down' ? 'mptcp-text-bad' : 'mptcp-text-plain'
	}, [ `${path.address}: ${path.state == 'down' ? _('down') : format.roundTrip(path.rtt)}` ]));
}

/* Of each path that carries less than its device does */
function packets(wan) {
	const small = wan.health.paths.filter(path => path.mtu);

	return small.length ? [ [ _('Packets'), small.map(path => E('div', {
		'title': _('Larger ones are lost on the way, so connections use smaller ones.')
	}, [ _('at most %d bytes to %s').format(path.mtu, path.address) ])) ] ] : [];
}

function card(wan, i, carried, now) {
	const word = words.wan(wan);
	const works = word.tone != 'bad';
	const share = works ? carried : null;

	return E('div', { 'class': 'mptcp-card', 'data-key': wan.name, 'data-wan': wan.name }, [
		E('div', { 'class': 'mptcp-head' }, [
			E('strong', [ E('span', { 'class': 'mptcp-swatch', 'style': `background: ${graph.colour(i)}` }), wan.interface ]),
			E('span', { 'class': 'mptcp-device' }, [ (wan.device && wan.device != wan.interface) ? wan.device : '' ]),
			pill(word)
		]),
		E('p', { 'class': 'mptcp-why' }, [
			word.reason || (wan.health.since > 0 && wan.role != 'off'
				? _('unchanged for %s').format(format.duration(now - wan.health.since)) : '')
		]),
		lines([
			[ _('Address'), addresses(wan) ],
			[ _('Round trip'), roundTrips(wan) ],
			[ _('Loss'), (wan.up && wan.health.paths.length) ? format.percent(wan.health.loss) : format.NOTHING ],
			...packets(wan),
			[ _('Endpoint'), endpoints(wan) ],
			[ _('Subflows'), String(wan.subflows) ],
			[ _('Share'), format.percent(share) ]
		]),
		E('div', { 'class': 'mptcp-bar' }, [
			E('div', { 'style': `width: ${((share ?? 0) * 100).toFixed(1)}%; background: ${graph.colour(i)}` })
		])
	]);
}

/* One card per WAN. Every card has the same lines, filled or not, so that nothing moves when
 * a value comes or goes. */
function cards({ wans, time }) {
	const shares = graph.shares(wans);

	return E('div', { 'class': 'mptcp-cards' }, wans.map((wan, i) => card(wan, i, shares[i], time)));
}

function link(where) {
	const field = words.field(where);

	if (!field)
		return E('strong', [ where ]);

	return E('a', {
		'href': `${SETTINGS}#${[ field.section, field.option ].map(encodeURIComponent).join('.')}`
	}, [ where ]);
}

function problems(status) {
	return E('div', { 'class': 'mptcp-problems' }, status.problems.map(p => E('div', {
		'class': `alert-message ${p.severity == 'error' ? 'danger' : 'warning'}`, 'data-key': `${p.where} ${p.message}`
	}, [
		link(p.where), `: ${p.message}`,
		p.hint ? E('p', { 'class': 'mptcp-hint' }, [ p.hint ]) : ''
	])));
}

function history(status) {
	if (!status.history.length)
		return E('p', { 'class': 'mptcp-none' }, [ E('em', [ _('Nothing has changed since the start.') ]) ]);

	const heads = [ _('When'), _('What'), _('Change'), _('Why') ];

	return E('table', { 'class': 'table mptcp-history' }, [
		E('tr', { 'class': 'tr table-titles' }, heads.map(head => E('th', { 'class': 'th' }, [ head ]))),
		...status.history.map(h => {
			const cells = [
				format.clock(h.time, status.time, document.documentElement.lang || undefined),
				h.what == 'state' ? _('Proxy') : h.what == 'peer' ? _('Peer') : h.what.replace(/^wan /, ''),
				`${words.event(h.what, h.from)} → ${words.event(h.what, h.to)}`,
				h.reason
			];

			return E('tr', { 'class': 'tr', 'data-key': `${h.time} ${h.what} ${h.to}` }, cells.map((cell, i) =>
				E('td', { 'class': 'td', 'data-title': heads[i] }, [ cell ])));
		})
	]);
}

function clientLines({ client }) {
	if (!client)
		return [];

	const peers = client.peers.map(p => E('div', [
		`${p.name}: ${words.peer(p.state)}`,
		p.name == client.peer ? `, ${client.address} ${_('port %d').format(client.port ?? 0)}` : ''
	]));
	const redirect = client.redirect;
	const alone = (client.left_alone ?? []).map(a => E('div', [ `${a.interface} (${a.what}): ${a.because}` ]));

	return [
		[ _('New connections of the LAN go'), words.mode(client.mode) ],
		[ _('Peers'), peers.length ? peers : format.NOTHING ],
		[ _('Redirected so far'), redirect
			? _('%d connections from %s, by %s').format(redirect.packets, redirect.devices.join(', ') || format.NOTHING, redirect.backend)
			: format.NOTHING ],
		...(alone.length ? [ [ _('Not redirected, as the firewall says'), alone ] ] : [])
	];
}

function serverLines({ server }) {
	return server ? [
		[ _('Serves other routers on'), _('%s port %d').format(server.listen.join(', '), server.port) ],
		[ _('Routers connected'), _('%d, with %d connections').format(server.clients, server.connections) ]
	] : [];
}

function engineLine({ engine }) {
	if (!engine)
		return _('none');

	const stopped = engine.processes.filter(p => !p.running).map(p => p.name);

	return `${engine.name} ${engine.version}${stopped.length ? ` (${_('not running: %s').format(stopped.join(', '))})` : ''}`;
}

function details(status) {
	const { mptcp, buffers } = status;
	const limits = mptcp.limits;

	return E('details', { 'class': 'mptcp-details' }, [
		E('summary', [ _('Details') ]),
		lines([
			...clientLines(status),
			...serverLines(status),
			[ _('Proxy program'), engineLine(status) ],
			[ _('MPTCP of the kernel'), mptcp.enabled ? _('on') : _('off') ],
			[ _('Limits'), limits ? _('%d subflows, %d announced addresses').format(limits.subflows, limits.add_addr_accepted) : format.NOTHING ],
			[ _('MPTCP connections'), String(mptcp.connections) ],
			[ _('Fallen back to plain TCP'), String(mptcp.fallbacks) ],
			[ _('TCP buffers'), buffers.rmem == null ? buffers.reason
				: `${format.size(buffers.rmem)} / ${format.size(buffers.wmem)}: ${buffers.reason}` ],
			[ _('Version of the agent'), status.version ]
		]),
		E('details', { 'class': 'mptcp-details' }, [
			E('summary', [ _('Counters of the kernel') ]),
			lines(Object.entries(mptcp.counters).map(([ name, value ]) => [ name, String(value) ]))
		])
	]);
}

return baseclass.extend({ pill, cards, problems, history, details });
