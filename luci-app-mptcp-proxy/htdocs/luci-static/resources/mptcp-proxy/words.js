// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';

/*
 * What the agent's states are called, and which colour they have. Pure.
 * A tone is one of good, warn, bad and off: the colours stand in style.css.
 */

const STATES = {
	active: { label: _('Active'), tone: 'good' },
	degraded: { label: _('Degraded'), tone: 'warn' },
	bypassed: { label: _('Bypassed'), tone: 'warn' },
	blocked: { label: _('Blocked'), tone: 'bad' },
	disabled: { label: _('Switched off'), tone: 'off' },
	error: { label: _('Error'), tone: 'bad' }
};

const TROUBLES = {
	absent: {
		label: _('Not running'), tone: 'bad',
		reason: _('The agent is not running. After a stop the LAN goes out directly; after a crash what was set up stays as it is. The system log says why it ended.')
	},
	silent: {
		label: _('No answer'), tone: 'bad',
		reason: _('The agent runs but does not answer. What is shown may be old.')
	},
	denied: {
		label: _('Not allowed'), tone: 'bad',
		reason: _('This login may not see the state of the proxy. Log in again if the package was only just installed.')
	},
	failed: { label: _('Error'), tone: 'bad', reason: _('The agent answered with an error.') }
};

const PEERS = {
	'in use': _('in use'),
	standby: _('standby'),
	down: _('does not answer'),
	unresolved: _('name not resolved')
};

const MODES = {
	proxy: _('through the proxy'),
	bypass: _('directly, without the proxy'),
	block: _('refused'),
	starting: _('starting')
};

/* Only own keys: an unknown word from the agent is shown as it is */
function word(table, key) {
	return Object.hasOwn(table, key) ? table[key] : String(key);
}

function state(name) {
	return Object.hasOwn(STATES, name) ? STATES[name] : { label: String(name), tone: 'off' };
}

/* A WAN in one word, and why */
function wan(w) {
	if (w.role == 'off')
		return { label: _('Not used'), tone: 'off', reason: '' };

	if (!w.up)
		return { label: _('Not connected'), tone: 'bad', reason: w.reason };

	if (w.health.state == 'down')
		return { label: _('Down'), tone: 'bad', reason: w.health.cause };

	/* Only ways to a peer are tested: a router that is a server only has none, and nothing to wait for */
	if (w.health.state != 'up' && w.health.paths.length)
		return { label: _('Being tested'), tone: 'warn', reason: w.health.cause };

	if (w.role == 'backup')
		return { label: _('Standby'), tone: 'good', reason: '' };

	return { label: (w.health.state == 'up') ? _('Healthy') : _('Up'), tone: 'good', reason: '' };
}

/* A state in the history: of the proxy, of a WAN, or the name of a peer */
function event(what, value) {
	const wans = { unknown: _('being tested'), up: _('up'), down: _('down') };

	if (what == 'state')
		return state(value).label;

	return what.startsWith('wan ') ? word(wans, value) : String(value);
}

/* 'mptcp-proxy.r7000.port' -> { section, option }: a field of the settings; null for the rest */
function field(where) {
	const [ config, section, option ] = String(where).split('.');

	return (config == 'mptcp-proxy' && section) ? { section, option: option ?? '' } : null;
}

return baseclass.extend({
	state, wan, event, field,
	trouble: name => TROUBLES[name],
	peer: name => word(PEERS, name),
	mode: name => word(MODES, name)
});
