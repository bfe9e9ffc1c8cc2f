// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';
'require mptcp-proxy.format as format';

/*
 * The rates of all WANs stacked, so that one sees the sum grow, with a table that is also the
 * legend. One polygon per WAN; the colours are the custom properties --wan-0 … of style.css.
 *
 * A series is the last values of one WAN, oldest first. Series may have different lengths (a
 * WAN that was added later); the newest values stand at the right end, what is missing is 0.
 */

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 600;
const HEIGHT = 150;

/* An idle graph has this scale, bit/s: less would blow up probes into mountains */
const LEAST_SCALE = 1e6;

/* ---- arithmetic: numbers in, numbers and SVG point lists out ------------------------------- */

/* series -> layers of [low, high] per sample, each layer on top of the one before */
function stack(series) {
	const length = Math.max(0, ...series.map(values => values.length));
	const floor = new Array(length).fill(0);

	return series.map(values => {
		const missing = length - values.length;

		return floor.map((low, i) => {
			floor[i] = low + Math.max(0, values[i - missing] ?? 0);

			return [ low, floor[i] ];
		});
	});
}

/* The sum of all series, one value per sample */
function total(series) {
	const layers = stack(series);

	return layers.length ? layers[layers.length - 1].map(([ , high ]) => high) : [];
}

/* The next 1, 2 or 5 times a power of ten: a scale that moves seldom and reads easily */
function niceScale(peak, least) {
	const target = Math.max(peak, least);
	const power = 10 ** Math.floor(Math.log10(target));

	return [ 1, 2, 5, 10 ].map(step => step * power).find(scale => scale >= target);
}

/* What stands in the table under the graph */
function summary(values) {
	if (!values.length)
		return { current: 0, average: 0, peak: 0 };

	return {
		current: values[values.length - 1],
		average: values.reduce((sum, value) => sum + value, 0) / values.length,
		peak: Math.max(...values)
	};
}

/* One layer as the `points` of an SVG polygon: along the top, and back along the bottom.
 * `room` is how many samples the width holds; fewer leave the left side empty. */
function polygon(layer, room, scale, width, height) {
	const step = width / Math.max(1, room - 1);
	const x = i => (width - (layer.length - 1 - i) * step).toFixed(1);
	const y = value => (height - Math.min(1, value / scale) * height).toFixed(1);
	const top = layer.map(([ , high ], i) => `${x(i)},${y(high)}`);
	const bottom = layer.map(([ low ], i) => `${x(i)},${y(low)}`).reverse();

	return [ ...top, ...bottom ].join(' ');
}

/* Less than this on average, bit/s, is probes: their shares say nothing */
const LEAST_SHARED = 50e3;

/* How much of all traffic of the window each WAN carried, 0…1; null while there was none */
function shares(wans) {
	const sum = values => values.reduce((a, b) => a + Math.max(0, b), 0);
	const carried = wans.map(wan => sum(wan.rates.rx) + sum(wan.rates.tx));
	const all = sum(carried);
	const samples = Math.max(1, ...wans.map(wan => wan.rates.rx.length));

	return carried.map(value => all / samples > LEAST_SHARED ? value / all : null);
}

/* ---- the picture and its table ------------------------------------------------------------ */

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
		points: polygon(layer, room, scale, WIDTH, HEIGHT), style: `fill: ${colour(i)}`
	}));

	return svg('svg', {
		'class': 'mptcp-graph', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none',
		role: 'img', 'aria-label': title
	}, [ ...areas, ...lines ]);
}

function row(name, swatch, values, extra) {
	const { current, average, peak } = summary(values);

	return E('tr', { 'class': `tr ${extra ?? ''}`, 'data-key': `row ${name}` }, [
		E('td', { 'class': 'td' }, [ swatch, name ]),
		...[ current, average, peak ].map(value => E('td', { 'class': 'td mptcp-number' }, [ format.rate(value) ]))
	]);
}

function table(wans, values) {
	const heads = [ _('WAN'), _('Now'), _('Average'), _('Peak') ];
	const rows = wans.map((wan, i) => row(wan.interface,
		E('span', { 'class': 'mptcp-swatch', 'style': `background: ${colour(i)}` }), values[i]));

	if (wans.length > 1)
		rows.push(row(_('All WANs'), E('span', { 'class': 'mptcp-swatch' }), total(values), 'mptcp-sum'));

	return E('table', { 'class': 'table mptcp-rates' }, [
		E('tr', { 'class': 'tr table-titles' }, heads.map((head, i) =>
			E('th', { 'class': i ? 'th mptcp-number' : 'th' }, [ head ]))),
		...rows
	]);
}

/* One direction of all WANs: title, values per WAN */
function panel(title, wans, values, sampling) {
	const room = Math.max(2, sampling.points);
	const scale = niceScale(Math.max(0, ...total(values)), LEAST_SCALE);

	return E('div', { 'class': 'mptcp-panel', 'data-direction': title }, [
		E('h4', [ title ]),
		E('div', { 'class': 'mptcp-plot' }, [
			E('div', { 'class': 'mptcp-scale' }, [ format.rate(scale) ]),
			picture(stack(values), room, scale, title),
			E('div', { 'class': 'mptcp-span' }, [
				E('span', [ _('%s ago').format(format.duration(room * sampling.interval)) ]), E('span', [ _('now') ])
			])
		]),
		table(wans, values)
	]);
}

return baseclass.extend({
	stack, total, niceScale, summary, polygon, shares, colour,

	render(wans, sampling) {
		return E('div', { 'class': 'mptcp-panels' }, [
			panel(_('Download'), wans, wans.map(wan => wan.rates.rx), sampling),
			panel(_('Upload'), wans, wans.map(wan => wan.rates.tx), sampling)
		]);
	}
});
