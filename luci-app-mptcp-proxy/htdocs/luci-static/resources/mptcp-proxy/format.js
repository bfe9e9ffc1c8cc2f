// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';

/*
 * Numbers and times as a person reads them. Pure: text out, no DOM.
 * Three significant digits, so that a value keeps its width while it changes.
 */

const NOTHING = '–';

const RATES = [ 'bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s' ];
const SIZES = [ 'B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB' ];

function digits(value, whole) {
	if (whole || value >= 99.95)
		return value.toFixed(0);

	return value.toFixed(value >= 9.995 ? 1 : 2);
}

function scaled(value, step, units) {
	if (!Number.isFinite(value) || value < 0)
		return NOTHING;

	let unit = 0;

	/* 999.6 would print as 1000: the next unit takes over before that */
	while (value >= step - 0.5 && unit < units.length - 1) {
		value /= step;
		unit++;
	}

	return `${digits(value, unit == 0)} ${units[unit]}`;
}

/* bit/s -> '12.3 Mbit/s' */
function rate(bits) {
	return scaled(bits, 1000, RATES);
}

/* bytes -> '1.25 GiB' */
function size(bytes) {
	return scaled(bytes, 1024, SIZES);
}

/* milliseconds -> '0.85 ms', '23 ms'; null is unknown */
function roundTrip(ms) {
	if (ms == null || !Number.isFinite(ms))
		return NOTHING;

	return `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

/* 0…1 -> '3 %'; a loss too small to round to 1 % is still not none */
function percent(fraction) {
	if (fraction == null || !Number.isFinite(fraction))
		return NOTHING;

	const value = fraction * 100;

	return (value > 0 && value < 1) ? '< 1 %' : `${value.toFixed(0)} %`;
}

/* seconds -> '45 s', '12 min', '3 h 20 min', '2 d 4 h': the two units that matter */
function duration(seconds) {
	if (!Number.isFinite(seconds))
		return NOTHING;

	const s = Math.max(0, Math.floor(seconds));

	if (s < 60)
		return `${s} s`;

	const steps = [ [ 86400, 'd', 3600, 'h' ], [ 3600, 'h', 60, 'min' ], [ 60, 'min', 0, '' ] ];
	const [ big, bigName, small, smallName ] = steps.find(step => s >= step[0]);
	const rest = small ? Math.floor((s % big) / small) : 0;

	return `${Math.floor(s / big)} ${bigName}${rest ? ` ${rest} ${smallName}` : ''}`;
}

/* Unix seconds -> the clock, with the day where it is not today's */
function clock(time, now, locale) {
	if (!Number.isFinite(time) || time <= 0)
		return NOTHING;

	const at = new Date(time * 1000);
	const today = new Date(now * 1000).toDateString() == at.toDateString();
	const hours = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };
	const day = { day: '2-digit', month: 'short' };

	return new Intl.DateTimeFormat(locale, today ? hours : { ...day, ...hours }).format(at);
}

return baseclass.extend({ NOTHING, rate, size, roundTrip, percent, duration, clock });
