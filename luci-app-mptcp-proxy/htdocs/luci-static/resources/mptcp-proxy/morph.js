// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';

/*
 * Redrawing without jumps: a page is built anew at every poll, and this makes the old nodes
 * look like the new ones. What did not change is not touched, so the focus, the selection,
 * scrolling, and what is folded open stay as they were.
 *
 * Event handlers stay with the old nodes. They must not close over data that changes; they
 * find it by an attribute, as data-token in the connection table.
 *
 * Children are matched by data-key where they have one, else by position.
 */

/* What the user, not the page, sets */
const KEPT = [ 'open' ];

function sameKind(a, b) {
	return a.nodeType == b.nodeType && a.nodeName == b.nodeName && key(a) == key(b);
}

function key(node) {
	return node.getAttribute?.('data-key') ?? null;
}

function attributes(old, fresh) {
	for (const { name } of [ ...old.attributes ])
		if (!fresh.hasAttribute(name) && !KEPT.includes(name))
			old.removeAttribute(name);

	for (const { name, value } of [ ...fresh.attributes ])
		if (old.getAttribute(name) !== value && !KEPT.includes(name))
			old.setAttribute(name, value);
}

function children(old, fresh) {
	const keyed = new Map([ ...old.childNodes ].filter(node => key(node) != null).map(node => [ key(node), node ]));
	let place = old.firstChild;

	for (const wanted of [ ...fresh.childNodes ]) {
		const match = (key(wanted) != null) ? keyed.get(key(wanted)) : place;

		if (match && sameKind(match, wanted)) {
			if (match === place)
				place = place.nextSibling;
			else
				old.insertBefore(match, place);

			node(match, wanted);
		}
		else {
			old.insertBefore(wanted, place);
		}
	}

	while (place) {
		const next = place.nextSibling;

		place.remove();
		place = next;
	}
}

function node(old, fresh) {
	if (old.nodeType != Node.ELEMENT_NODE) {
		if (old.data !== fresh.data)
			old.data = fresh.data;

		return;
	}

	/* a button at work: ui.createHandlerFn has marked it and will unmark it */
	if (old.classList.contains('spinning'))
		return;

	attributes(old, fresh);
	children(old, fresh);
}

return baseclass.extend({
	/* Make what is inside `container` look like `nodes` */
	content(container, nodes) {
		children(container, E('div', nodes));
	}
});
