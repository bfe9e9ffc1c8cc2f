// SPDX-License-Identifier: GPL-2.0-or-later
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { load } from './load.mjs';

const graph = load('mptcp-proxy.graph');

test('layers stand on each other', () => assert.deepEqual(
	graph.stack([ [ 1, 2 ], [ 10, 20 ] ]), [ [ [ 0, 1 ], [ 0, 2 ] ], [ [ 1, 11 ], [ 2, 22 ] ] ]));

test('a shorter series stands at the right end', () => assert.deepEqual(
	graph.stack([ [ 1, 2, 3 ], [ 5 ] ])[1], [ [ 1, 1 ], [ 2, 2 ], [ 3, 8 ] ]));

test('a negative rate, as after a counter that went back, counts as none', () => assert.deepEqual(
	graph.total([ [ 1, -9 ], [ 1, 1 ] ]), [ 2, 1 ]));

test('no series, no total', () => {
	assert.deepEqual(graph.stack([]), []);
	assert.deepEqual(graph.total([]), []);
	assert.deepEqual(graph.total([ [], [] ]), []);
});

test('the scale is 1, 2 or 5 times a power of ten, never below the peak', () => {
	for (const [ peak, scale ] of [ [ 0, 1e6 ], [ 1e6, 1e6 ], [ 1e6 + 1, 2e6 ], [ 2.1e6, 5e6 ], [ 5.1e6, 1e7 ], [ 1e9, 1e9 ] ])
		assert.equal(graph.niceScale(peak, 1e6), scale, `of ${peak}`);

	for (let peak = 1; peak < 1e12; peak *= 1.37)
		assert.ok(graph.niceScale(peak, 1e6) >= peak);
});

test('current, average and peak', () => {
	assert.deepEqual(graph.summary([ 1, 5, 3 ]), { current: 3, average: 3, peak: 5 });
	assert.deepEqual(graph.summary([]), { current: 0, average: 0, peak: 0 });
});

test('a polygon goes along the top and back along the bottom', () => assert.equal(
	graph.polygon([ [ 0, 50 ], [ 0, 100 ] ], 3, 100, 20, 10), '10.0,5.0 20.0,0.0 20.0,10.0 10.0,10.0'));

test('what is above the scale is cut off', () => assert.equal(
	graph.polygon([ [ 0, 500 ] ], 2, 100, 20, 10), '20.0,0.0 20.0,10.0'));

test('shares of both directions, none without traffic', () => {
	const wan = (rx, tx) => ({ rates: { rx, tx } });

	assert.deepEqual(graph.shares([ wan([ 30e6 ], [ 0 ]), wan([ 5e6 ], [ 5e6 ]) ]), [ 0.75, 0.25 ]);
	assert.deepEqual(graph.shares([ wan([ 3000, 0 ], [ 2000, 0 ]), wan([ 900, 0 ], [ 0, 0 ]) ]), [ null, null ], 'probes alone');
	assert.deepEqual(graph.shares([ wan([ 0 ], []) ]), [ null ]);
	assert.deepEqual(graph.shares([]), []);
});
