// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require view';
'require poll';
'require ui';
'require mptcp-proxy.agent as agent';
'require mptcp-proxy.connections as connections';
'require mptcp-proxy.dialogs as dialogs';
'require mptcp-proxy.format as format';
'require mptcp-proxy.graph as graph';
'require mptcp-proxy.morph as morph';
'require mptcp-proxy.status_parts as parts';
'require mptcp-proxy.words as words';

document.head.append(E('link', { 'rel': 'stylesheet', 'href': L.resource('mptcp-proxy/style.css') }));

/* Seconds; the agent answers from memory */
const INTERVAL = 3;

function section(title, ...nodes) {
	return E('div', { 'class': 'cbi-section', 'data-key': title }, [ E('h3', [ title ]), ...nodes ]);
}

/* Neither role is on: nothing is set up, or all is switched off as the package comes */
function isOff(status) {
	return !status.client && !status.server && status.state != 'error';
}

return view.extend({
	load() {
		return Promise.all([ agent.status(), agent.connections() ]);
	},

	render([ status, list ]) {
		this.page = E('div');
		this.table = new connections.Table(() => this.draw());
		this.take(status, list);
		this.draw();

		poll.add(() => this.refresh(), INTERVAL);

		return E('div', { 'class': 'mptcp-proxy' }, [
			E('h2', [ _('MPTCP Proxy') ]),
			this.page
		]);
	},

	/* While the agent does not answer, what it said last stays on the page */
	take(status, list) {
		this.trouble = status.trouble ? status : null;
		this.status = status.reply ?? (status.trouble == 'silent' ? this.status : null);
		this.list = list.reply ?? (list.trouble == 'silent' ? this.list : null);
		this.listTrouble = list.trouble;
	},

	draw() {
		morph.content(this.page, this.trouble
			? [ this.renderTrouble(), this.status ? E('div', { 'class': 'mptcp-stale', 'data-key': 'all' }, this.renderAll(this.status)) : '' ]
			: [ this.renderBanner(this.status), E('div', { 'data-key': 'all' }, this.renderAll(this.status)) ]);
	},

	renderTrouble() {
		const word = words.trouble(this.trouble.trouble);

		return E('div', { 'class': 'mptcp-banner', 'data-key': 'banner' }, [
			parts.pill(word),
			E('span', { 'class': 'mptcp-reason' }, [ `${word.reason} ${this.trouble.trouble == 'failed' ? this.trouble.detail : ''}` ]),
			(this.trouble.trouble == 'absent' && L.hasViewPermission()) ? E('button', {
				'class': 'btn cbi-button cbi-button-action important', 'click': ui.createHandlerFn(this, 'handleStart')
			}, [ _('Start') ]) : ''
		]);
	},

	renderBanner(status) {
		return E('div', { 'class': 'mptcp-banner', 'data-key': 'banner', 'data-state': status.state }, [
			parts.pill(words.state(status.state)),
			E('span', { 'class': 'mptcp-reason' }, [ status.state == 'disabled'
				? _('The router is as if the package were not installed.') : status.reason ]),
			E('span', { 'class': 'mptcp-since' }, [ this.looked ? _('read and looked at again') : _('for %s').format(format.duration(status.time - status.since)) ]),
			E('span', { 'class': 'mptcp-buttons' }, [
				E('button', { 'class': 'btn cbi-button', 'click': ui.createHandlerFn(dialogs, 'check') }, [ _('Check') ]), ' ',
				E('button', { 'class': 'btn cbi-button', 'click': ui.createHandlerFn(dialogs, 'plan') }, [ _('Plan') ]), ' ',
				L.hasViewPermission() ? E('button', {
					'class': 'btn cbi-button',
					'title': _('Read the configuration again and look at the router now'),
					'click': ui.createHandlerFn(this, 'handleReload')
				}, [ _('Reload') ]) : ''
			])
		]);
	},

	renderAll(status) {
		if (isOff(status))
			return [ parts.problems(status), this.renderStart() ];

		const wans = status.wans.map(w => w.name);

		return [
			parts.problems(status),
			status.wans.length ? parts.cards(status)
				: E('p', { 'class': 'mptcp-none' }, [ E('em', [ _('No WAN is configured.') ]) ]),
			status.wans.length ? section(_('Traffic'), graph.render(status.wans, status.sampling)) : '',
			section(_('Connections'), this.list
				? this.table.render(this.list.connections, this.list.total, wans)
				: E('p', { 'class': 'mptcp-none' }, [ E('em', [ words.trouble(this.listTrouble ?? 'silent').label ]) ])),
			section(_('What changed lately'), parts.history(status)),
			parts.details(status)
		];
	},

	renderStart() {
		return E('div', { 'class': 'cbi-section', 'data-key': 'start' }, [
			E('p', [ _('The assistant asks a few questions and writes a working configuration. Everything can be set by hand too.') ]),
			E('a', { 'class': 'btn cbi-button cbi-button-action important', 'href': L.url('admin/services/mptcp-proxy/assistant') }, [ _('Start the assistant') ]), ' ',
			E('a', { 'class': 'btn cbi-button', 'href': L.url('admin/services/mptcp-proxy/settings') }, [ _('Settings') ])
		]);
	},

	refresh() {
		return this.load().then(([ s, c ]) => {
			this.take(s, c);
			this.draw();
		});
	},

	/* Said for a moment: a button that shows nothing is pressed again */
	handleReload() {
		return agent.reload().then(() => {
			this.looked = true;

			window.setTimeout(() => { this.looked = false }, INTERVAL * 1000);

			return this.refresh();
		});
	},

	/* It has to read its program first; the next refresh will find it */
	handleStart() {
		return agent.start().then(answer => {
			const code = answer.trouble ? answer.detail : answer.reply.code;

			if (code)
				ui.addNotification(null, E('p', [ _('The agent does not start: %s').format(answer.reply?.stderr ?? code) ]), 'danger');

			return this.refresh();
		});
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
