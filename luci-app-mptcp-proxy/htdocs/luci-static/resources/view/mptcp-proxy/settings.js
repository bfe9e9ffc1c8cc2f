// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require view';
'require form';
'require uci';
'require mptcp-proxy.agent as agent';
'require mptcp-proxy.grids as grids';
'require mptcp-proxy.sections as sections';
'require mptcp-proxy.words as words';

const CONFIG = 'mptcp-proxy';

document.head.append(E('link', { 'rel': 'stylesheet', 'href': L.resource('mptcp-proxy/style.css') }));

/*
 * Deep links: a problem on the status page links to settings#SECTION.OPTION. This opens the tab,
 * in a grid the section's own dialog, and points at the field.
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

function openField(map, hash) {
	const [ section, option ] = hash.replace('#', '').split('.').map(decodeURIComponent);
	const type = section ? uci.get(CONFIG, section) : null;

	if (typeof(type) != 'string' && !type)
		return;

	const id = `cbid.${CONFIG}.${section}.${option}`;
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

return view.extend({
	load() {
		return Promise.all([
			uci.load(CONFIG).then(() => true, () => false),
			agent.status()
		]);
	},

	render([ loaded, answer ]) {
		if (!loaded) {
			/* no buttons: nothing is there to be saved */
			Object.assign(this, { handleSaveApply: null, handleSave: null, handleReset: null });

			return E('div', { 'class': 'alert-message warning' }, [
				_('The settings cannot be read: this login may only look at the status, or the file /etc/config/mptcp-proxy is missing.')
			]);
		}

		const chosen = uci.sections(CONFIG, 'globals')[0]?.engine;
		const engine = answer.reply?.engine?.name ?? chosen;
		const map = new form.Map(CONFIG, _('MPTCP Proxy'),
			_('TCP connections of the LAN ride all WANs at once, through a server that puts them together again.'));

		map.tabbed = true;
		sections.globals(map);
		sections.client(map);
		sections.server(map, engine);
		grids.peers(map, engine);
		grids.wans(map);

		return map.render().then(node => {
			window.setTimeout(() => openField(map, window.location.hash), 0);
			window.addEventListener('hashchange', () => openField(map, window.location.hash));

			return E('div', { 'class': 'mptcp-proxy' }, [
				answer.trouble ? E('div', { 'class': 'alert-message warning' }, [
					words.trouble(answer.trouble).reason, ' ',
					_('The settings can be changed all the same.')
				]) : '',
				node
			]);
		});
	}
});
