'use strict';
'require baseclass';
'require mptcp-proxy.format as format';
'require mptcp-proxy.graph as graph';
'require mptcp-proxy.series as series';
'require mptcp-proxy.words as words';

/*
 * One card per WAN. Every card has the same lines, filled or not, so that nothing moves when
 * a value comes or goes.
 */

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

function card(wan, i, share, now) {
	const word = words.wan(wan);

	return E('div', { 'class': 'mptcp-card', 'data-key': wan.name, 'data-wan': wan.name }, [
		E('div', { 'class': 'mptcp-head' }, [
			E('strong', [ E('span', { 'class': 'mptcp-swatch', 'style': `background: ${graph.colour(i)}` }), wan.interface ]),
			E('span', { 'class': 'mptcp-device' }, [ (wan.device && wan.device != wan.interface) ? wan.device : '' ]),
			pill(word)
		]),
		E('p', { 'class': 'mptcp-why' }, [
			word.reason || (wan.health.since > 0 && wan.role != 'off'
				? _('for %s').format(format.duration(now - wan.health.since)) : '')
		]),
		lines([
			[ _('Address'), addresses(wan) ],
			[ _('Round trip'), roundTrips(wan) ],
			[ _('Loss'), wan.health.paths.length ? format.percent(wan.health.loss) : format.NOTHING ],
			[ _('Endpoint'), endpoints(wan) ],
			[ _('Subflows'), String(wan.subflows) ],
			[ _('Share'), format.percent(share) ]
		]),
		E('div', { 'class': 'mptcp-bar' }, [
			E('div', { 'style': `width: ${((share ?? 0) * 100).toFixed(1)}%; background: ${graph.colour(i)}` })
		])
	]);
}

return baseclass.extend({
	pill,
	lines,

	render(wans, now) {
		const shares = series.shares(wans);

		return E('div', { 'class': 'mptcp-cards' }, wans.map((wan, i) => card(wan, i, shares[i], now)));
	}
});
