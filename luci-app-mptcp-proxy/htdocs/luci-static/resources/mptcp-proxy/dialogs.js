// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';
'require ui';
'require mptcp-proxy.agent as agent';
'require mptcp-proxy.words as words';

/*
 * The dialogs of the buttons Check and Plan. Both can be copied as text, for a forum or a mail.
 * The rows are those of `mptcp-agent check`, which adds one for each generated file where
 * jsonschema is installed.
 */

const RESULTS = {
	ok: { label: _('Fine'), tone: 'good' },
	warning: { label: _('Warning'), tone: 'warn' },
	failed: { label: _('To mend'), tone: 'bad' }
};

const SIGNS = { add: '+', remove: '-', set: '~' };

function checkText({ checks }) {
	return checks.map(c => `[${c.result}] ${c.name}: ${c.message}${c.hint ? `\n        ${c.hint}` : ''}`).join('\n');
}

function checkNodes({ checks }) {
	return E('div', { 'class': 'mptcp-checks' }, checks.map(c => E('div', { 'class': 'mptcp-check', 'data-result': c.result }, [
		E('span', { 'class': `mptcp-pill mptcp-${RESULTS[c.result].tone}` }, [ RESULTS[c.result].label ]),
		E('div', [
			E('strong', [ c.name ]), ` ${c.message}`,
			c.hint ? E('p', { 'class': 'mptcp-hint' }, [ c.hint ]) : ''
		])
	])));
}

function planText({ changes, problems }) {
	const lines = changes.flatMap(c => c.text.split('\n').map(line => `${SIGNS[c.action]} ${c.kind}: ${line}`));

	return [ ...lines, ...problems.map(problem => `! ${problem}`) ].join('\n');
}

function planNodes(plan) {
	if (!plan.changes.length && !plan.problems.length)
		return E('p', [ _('Nothing to change: the router is as configured.') ]);

	return E('pre', { 'class': 'mptcp-diff' }, planText(plan).split('\n').map(line =>
		E('span', { 'data-sign': line[0] }, [ `${line}\n` ])));
}

/* navigator.clipboard exists on https pages only; a router's page is mostly http */
function copy(text) {
	if (window.isSecureContext && navigator.clipboard)
		return navigator.clipboard.writeText(text);

	const area = E('textarea', { 'class': 'mptcp-clipboard' });

	area.value = text;
	(document.querySelector('.modal') ?? document.body).appendChild(area);
	area.select();

	const done = document.execCommand('copy');

	area.remove();

	return done ? Promise.resolve() : Promise.reject(new Error('copy'));
}

function handleCopy(text, ev) {
	const button = ev.currentTarget;

	return copy(text).then(
		() => { button.textContent = _('Copied') },
		() => { button.textContent = _('Not copied: select the text by hand') });
}

function show(title, intro, answer, toNodes, toText) {
	const { reply, trouble, detail } = answer;
	const text = reply ? toText(reply) : '';

	ui.showModal(title, [
		E('p', [ reply ? intro : `${words.trouble(trouble).reason} ${detail}` ]),
		reply ? toNodes(reply) : '',
		E('div', { 'class': 'right' }, [
			text ? E('button', { 'class': 'btn cbi-button mptcp-copy', 'click': ev => handleCopy(text, ev) }, [ _('Copy as text') ]) : '',
			' ',
			E('button', { 'class': 'btn cbi-button', 'click': ui.hideModal }, [ _('Close') ])
		])
	], 'mptcp-dialog');
}

/* Not answered from memory, as a status is: a check asks rpcd, netifd and procd whether they
 * answer, a plan reads the configuration, and either may be slow to */
const PATIENCE = 18000;

return baseclass.extend({
	check() {
		return agent.check(PATIENCE).then(answer => show(_('Check'),
			_('Everything the proxy needs, and how to mend what is missing.'), answer, checkNodes, checkText));
	},

	plan() {
		return agent.plan(PATIENCE).then(answer => show(_('Plan'),
			_('What the agent would change on this router now. Nothing is changed by looking.'), answer, planNodes, planText));
	},

	checkText,
	planText
});
