// SPDX-License-Identifier: GPL-2.0-or-later
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { load } from './load.mjs';

const format = load('mptcp-proxy.format');

function table(fn, rows) {
	for (const [ input, text ] of rows)
		assert.equal(fn(input), text, `of ${input}`);
}

test('a rate has three digits and a unit', () => table(format.rate, [
	[ 0, '0 bit/s' ], [ 999, '999 bit/s' ], [ 999.4, '999 bit/s' ], [ 999.6, '1.00 kbit/s' ], [ 1000, '1.00 kbit/s' ],
	[ 9994, '9.99 kbit/s' ], [ 9996, '10.0 kbit/s' ], [ 12345678, '12.3 Mbit/s' ], [ 99960000, '100 Mbit/s' ],
	[ 999499999, '999 Mbit/s' ], [ 999600000, '1.00 Gbit/s' ], [ 2.5e12, '2.50 Tbit/s' ], [ 4e16, '40000 Tbit/s' ]
]));

test('a size counts in 1024', () => table(format.size, [
	[ 0, '0 B' ], [ 1023, '1023 B' ], [ 1024, '1.00 KiB' ], [ 1536, '1.50 KiB' ], [ 1048575, '1.00 MiB' ], [ 1.5e9, '1.40 GiB' ]
]));

test('what is no number is a dash', () => {
	for (const value of [ null, undefined, NaN, Infinity, -1, 'x' ])
		assert.equal(format.rate(value), '–');
	assert.equal(format.roundTrip(null), '–');
	assert.equal(format.percent(null), '–');
	assert.equal(format.duration(NaN), '–');
	assert.equal(format.clock(0, 0), '–');
});

test('a round trip is finer where it is short', () => table(format.roundTrip, [
	[ 0.04, '0.0 ms' ], [ 3.14, '3.1 ms' ], [ 9.99, '10.0 ms' ], [ 23.4, '23 ms' ], [ 1500, '1500 ms' ]
]));

test('a loss below one per cent is not none', () => table(format.percent, [
	[ 0, '0 %' ], [ 0.001, '< 1 %' ], [ 0.5, '50 %' ], [ 1, '100 %' ]
]));

test('a duration has the two units that matter', () => table(format.duration, [
	[ -3, '0 s' ], [ 0, '0 s' ], [ 59.9, '59 s' ], [ 60, '1 min' ], [ 3599, '59 min' ], [ 3600, '1 h' ], [ 3660, '1 h 1 min' ],
	[ 86400, '1 d' ], [ 187200, '2 d 4 h' ]
]));

test('the clock names the day where it is not today', () => {
	const now = new Date(2026, 10, 22, 15, 0, 0) / 1000;

	assert.equal(format.clock(now - 60, now, 'en-GB'), '14:59:00');
	assert.match(format.clock(now - 86400, now, 'en-GB'), /^21 Nov.* 15:00:00$/);
});
