// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';
'require mptcp-proxy.format as format';
'require mptcp-proxy.graph as graph';

/*
 * The connection table. Sorting and what is folded open are the user's, so they live here and
 * not in the page that is redrawn. The handlers know a connection by data-token only.
 */

/* More rows than this make a page slow to read and to draw */
const ENOUGH = 50;

const COLUMNS = [
	[ 'peer', _('Peer') ],
	[ 'local', _('From') ],
	[ 'remote', _('To') ],
	[ 'subflows', _('Subflows') ],
	[ 'rx', _('Received') ],
	[ 'tx', _('Sent') ]
];

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

/* A sorted copy; by is a key of KEYS, down puts the largest first. Equal rows keep the order of
 * their tokens, so that nothing moves without a reason. */
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

function identity(c) {
	return c.token || `${c.local} ${c.remote}`;
}

function subflowCell(c, colours) {
	if (c.fallback)
		return [ E('span', { 'class': 'mptcp-pill mptcp-warn', 'title': _('Something on the way does not let MPTCP through: this one rides a single WAN.') }, [ _('plain TCP') ]) ];

	return [ `${c.subflows.length} `, ...c.subflows.map(s => E('span', {
		'class': 'mptcp-swatch',
		'title': s.wan ?? s.local,
		'style': `background: ${colours.get(s.wan) ?? 'var(--mptcp-off)'}`
	})) ];
}

function subflowTable(c) {
	const heads = [ _('WAN'), _('From'), _('To'), _('State'), _('Round trip'), _('Window'), _('Sent again'), _('Received'), _('Sent') ];

	return E('table', { 'class': 'table mptcp-subflows' }, [
		E('tr', { 'class': 'tr table-titles' }, heads.map(head => E('th', { 'class': 'th' }, [ head ]))),
		...c.subflows.map(s => {
			const cells = [
				`${s.wan ?? format.NOTHING}${s.backup ? ` (${_('backup')})` : ''}`,
				s.local, s.remote, s.state, format.roundTrip(s.rtt), String(s.cwnd),
				String(s.retransmits), format.size(s.rx_bytes), format.size(s.tx_bytes)
			];

			return E('tr', { 'class': 'tr', 'data-key': `${s.id} ${s.local} ${s.remote}` }, cells.map((cell, i) =>
				E('td', { 'class': 'td', 'data-title': heads[i] }, [ cell ])));
		})
	]);
}

class Table {
	constructor(redraw) {
		this.redraw = redraw;
		this.order = { by: 'rx', down: true };
		this.open = new Set();
		this.all = false;
	}

	handleSort(ev) {
		this.order = clicked(this.order, ev.currentTarget.getAttribute('data-column'));
		this.redraw();
	}

	handleFold(ev) {
		/* an address is being marked, to be copied */
		if (String(window.getSelection() ?? '') != '')
			return;

		const token = ev.currentTarget.getAttribute('data-token');

		if (!this.open.delete(token))
			this.open.add(token);

		this.redraw();
	}

	handleAll() {
		this.all = true;
		this.redraw();
	}

	head([ by, title ]) {
		const direction = (this.order.by == by) ? (this.order.down ? 'descending' : 'ascending') : null;

		return E('th', { 'class': 'th', 'data-key': by, 'aria-sort': direction }, [
			E('button', { 'class': 'mptcp-plain', 'data-column': by, 'click': ev => this.handleSort(ev) }, [ title ])
		]);
	}

	rows(c, colours) {
		const token = identity(c);
		const open = this.open.has(token) && c.subflows.length > 0;
		const peer = c.peer ?? _('a client');
		const cells = [
			[ c.subflows.length ? E('button', {
				'class': 'mptcp-plain', 'aria-expanded': String(open), 'title': _('Show the subflows')
			}, [ open ? '▾ ' : '▸ ', peer ]) : peer ],
			[ c.local ], [ c.remote ], subflowCell(c, colours),
			[ format.size(c.rx_bytes) ], [ format.size(c.tx_bytes) ]
		];
		/* the button is for the keyboard: its click comes up to the row */
		const folds = c.subflows.length ? { 'data-token': token, 'click': ev => this.handleFold(ev) } : {};
		const row = E('tr', { 'class': 'tr', 'data-key': token, 'data-connection': token, ...folds }, cells.map((cell, i) =>
			E('td', { 'class': `td mptcp-col-${COLUMNS[i][0]}`, 'data-title': COLUMNS[i][1] }, cell)));

		return open ? [ row, E('tr', { 'class': 'tr mptcp-fold', 'data-key': `fold ${token}` }, [
			E('td', { 'class': 'td', 'colspan': COLUMNS.length }, [ subflowTable(c) ])
		]) ] : [ row ];
	}

	/* list, total: as in connections.schema.json; wans: names in the order of the colours */
	render(list, total, wans) {
		const colours = new Map(wans.map((name, i) => [ name, graph.colour(i) ]));
		const shown = sorted(list, this.order.by, this.order.down).slice(0, this.all ? list.length : ENOUGH);

		if (!list.length)
			return E('p', { 'class': 'mptcp-none' }, [ E('em', [ _('No connections at the moment.') ]) ]);

		return E('div', { 'class': 'mptcp-connections' }, [
			E('table', { 'class': 'table' }, [
				E('tr', { 'class': 'tr table-titles' }, COLUMNS.map(column => this.head(column))),
				...shown.flatMap(c => this.rows(c, colours))
			]),
			(shown.length < total) ? E('p', { 'class': 'mptcp-more' }, [
				_('%d of %d connections').format(shown.length, total), ' ',
				(shown.length < list.length) ? E('button', {
					'class': 'btn cbi-button', 'click': () => this.handleAll()
				}, [ _('Show more') ]) : ''
			]) : ''
		]);
	}
}

return baseclass.extend({ Table, sorted, clicked });
