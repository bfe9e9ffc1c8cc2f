'use strict';
'require baseclass';
'require uci';

/*
 * A problem on the status page links to settings#SECTION.OPTION. This opens the tab, in a grid
 * the section's own dialog, and points at the field.
 */

function activate(node) {
	const tab = node.closest('[data-tab]')?.getAttribute('data-tab');
	const head = [ ...document.querySelectorAll('.cbi-tabmenu > li[data-tab]') ].find(li => li.getAttribute('data-tab') == tab);

	head?.querySelector('a').click();
}

function pointAt(node) {
	node.classList.add('mptcp-found');
	node.scrollIntoView({ block: 'center' });
	node.querySelector('input:not([type="hidden"]), select, textarea, button')?.focus();
	window.setTimeout(() => node.classList.remove('mptcp-found'), 4000);
}

function find(root, attribute, value) {
	return [ ...root.querySelectorAll(`[${attribute}]`) ].find(node => node.getAttribute(attribute) == value);
}

/* Dialogs are rendered by promises: look again until the field is there */
function waitFor(attribute, value, tries) {
	const node = find(document.body, attribute, value);

	if (node)
		pointAt(node);
	else if (tries > 0)
		window.setTimeout(() => waitFor(attribute, value, tries - 1), 100);
}

function show(map, hash) {
	const [ section, option ] = hash.replace('#', '').split('.').map(decodeURIComponent);
	const type = section ? uci.get('mptcp-proxy', section) : null;

	if (typeof(type) != 'string' && !type)
		return;

	const id = `cbid.mptcp-proxy.${section}.${option}`;
	const field = find(map.root, 'data-field', id);
	const row = find(map.root, 'data-sid', section);

	if (field) {
		activate(field);
		pointAt(field);
	}
	else if (row) {
		activate(row);
		row.querySelector('.cbi-button-edit')?.click();
		waitFor('data-field', id, 30);
	}
}

return baseclass.extend({ show });
