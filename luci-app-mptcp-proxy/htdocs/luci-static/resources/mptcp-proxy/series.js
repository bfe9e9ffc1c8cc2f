'use strict';
'require baseclass';

/*
 * The arithmetic of the stacked graph. Pure: numbers in, numbers and SVG point lists out.
 *
 * A series is the last values of one WAN, oldest first. Series may have different lengths (a
 * WAN that was added later); the newest values stand at the right end, what is missing is 0.
 */

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

/* How much of all traffic of the window each WAN carried, 0…1; null while there was none */
function shares(wans) {
	const sum = values => values.reduce((a, b) => a + Math.max(0, b), 0);
	const carried = wans.map(wan => sum(wan.rates.rx) + sum(wan.rates.tx));
	const all = sum(carried);

	return carried.map(value => all > 0 ? value / all : null);
}

return baseclass.extend({ stack, total, niceScale, summary, polygon, shares });
