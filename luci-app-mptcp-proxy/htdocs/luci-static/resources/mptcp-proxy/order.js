'use strict';
'require baseclass';

/*
 * Sorting of the connection table. Pure.
 * Equal rows keep the order of their tokens, so that nothing moves without a reason.
 */

const natural = new Intl.Collator('en', { numeric: true });

const KEYS = {
	peer: c => c.peer ?? '',
	local: c => c.local,
	remote: c => c.remote,
	subflows: c => c.subflows.length,
	rx: c => c.rx_bytes,
	tx: c => c.tx_bytes
};

function compare(a, b) {
	return (typeof(a) == 'number') ? a - b : natural.compare(a, b);
}

/* A sorted copy; by is a key of KEYS, down puts the largest first */
function sorted(connections, by, down) {
	const key = Object.hasOwn(KEYS, by) ? KEYS[by] : KEYS.rx;

	return [ ...connections ].sort((a, b) =>
		(down ? -1 : 1) * compare(key(a), key(b)) ||
		natural.compare(a.token + a.local + a.remote, b.token + b.local + b.remote));
}

/* What a click on a column's head makes of the order: numbers begin with the largest */
function clicked(order, by) {
	if (order.by == by)
		return { by, down: !order.down };

	return { by, down: [ 'subflows', 'rx', 'tx' ].includes(by) };
}

return baseclass.extend({ sorted, clicked });
