'use strict';
'require baseclass';
'require mptcp-proxy.cards as cards';
'require mptcp-proxy.format as format';
'require mptcp-proxy.words as words';

/*
 * The smaller parts of the status page, each a function of the status document (schema/).
 */

const SETTINGS = L.url('admin/services/mptcp-proxy/settings');

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

	return [
		[ _('New connections of the LAN go'), words.mode(client.mode) ],
		[ _('Peers'), peers.length ? peers : format.NOTHING ],
		[ _('Redirected so far'), redirect
			? _('%d connections from %s, by %s').format(redirect.packets, redirect.devices.join(', ') || format.NOTHING, redirect.backend)
			: format.NOTHING ]
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
		cards.lines([
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
			cards.lines(Object.entries(mptcp.counters).map(([ name, value ]) => [ name, String(value) ]))
		])
	]);
}

return baseclass.extend({ problems, history, details });
