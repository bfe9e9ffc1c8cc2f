'use strict';
'require baseclass';
'require mptcp-proxy.format as format';
'require mptcp-proxy.series as series';

/*
 * The rates of all WANs stacked, so that one sees the sum grow, with a table that is also the
 * legend. One polygon per WAN; the colours are the custom properties --wan-0 … of style.css.
 */

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 600;
const HEIGHT = 150;

/* An idle graph has this scale, bit/s: less would blow up probes into mountains */
const LEAST_SCALE = 1e6;

function svg(tag, attributes, children) {
	const node = document.createElementNS(SVG, tag);

	for (const [ name, value ] of Object.entries(attributes))
		node.setAttribute(name, value);

	node.append(...(children ?? []));

	return node;
}

function colour(i) {
	return `var(--wan-${i % 8})`;
}

function picture(layers, room, scale, title) {
	const lines = [ 0.25, 0.5, 0.75 ].map(part => svg('line', {
		x1: 0, x2: WIDTH, y1: HEIGHT * part, y2: HEIGHT * part, 'class': 'mptcp-grid'
	}));
	const areas = layers.map((layer, i) => svg('polygon', {
		points: series.polygon(layer, room, scale, WIDTH, HEIGHT), style: `fill: ${colour(i)}`
	}));

	return svg('svg', {
		'class': 'mptcp-graph', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none',
		role: 'img', 'aria-label': title
	}, [ ...areas, ...lines ]);
}

function row(name, swatch, values, extra) {
	const { current, average, peak } = series.summary(values);

	return E('tr', { 'class': `tr ${extra ?? ''}`, 'data-key': `row ${name}` }, [
		E('td', { 'class': 'td' }, [ swatch, name ]),
		...[ current, average, peak ].map(value => E('td', { 'class': 'td mptcp-number' }, [ format.rate(value) ]))
	]);
}

function table(wans, values) {
	const heads = [ _('Link'), _('Now'), _('Average'), _('Peak') ];
	const rows = wans.map((wan, i) => row(wan.interface,
		E('span', { 'class': 'mptcp-swatch', 'style': `background: ${colour(i)}` }), values[i]));

	if (wans.length > 1)
		rows.push(row(_('All links'), E('span', { 'class': 'mptcp-swatch' }), series.total(values), 'mptcp-sum'));

	return E('table', { 'class': 'table mptcp-rates' }, [
		E('tr', { 'class': 'tr table-titles' }, heads.map((head, i) =>
			E('th', { 'class': i ? 'th mptcp-number' : 'th' }, [ head ]))),
		...rows
	]);
}

/* One direction of all WANs: title, values per WAN */
function panel(title, wans, values, sampling) {
	const room = Math.max(2, sampling.points);
	const scale = series.niceScale(Math.max(0, ...series.total(values)), LEAST_SCALE);

	return E('div', { 'class': 'mptcp-panel', 'data-direction': title }, [
		E('h4', [ title ]),
		E('div', { 'class': 'mptcp-plot' }, [
			picture(series.stack(values), room, scale, title),
			E('span', { 'class': 'mptcp-scale' }, [ format.rate(scale) ]),
			E('div', { 'class': 'mptcp-span' }, [
				E('span', [ _('%s ago').format(format.duration(room * sampling.interval)) ]), E('span', [ _('now') ])
			])
		]),
		table(wans, values)
	]);
}

return baseclass.extend({
	colour,

	render(wans, sampling) {
		return E('div', { 'class': 'mptcp-panels' }, [
			panel(_('Download'), wans, wans.map(wan => wan.rates.rx), sampling),
			panel(_('Upload'), wans, wans.map(wan => wan.rates.tx), sampling)
		]);
	}
});
