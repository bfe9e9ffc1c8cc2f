// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';
'require form';
'require uci';
'require mptcp-proxy.fields as fields';
'require mptcp-proxy.options as options';
'require mptcp-proxy.sections as sections';

/*
 * The sections of which there are several, as grids: peers and WANs.
 */

function peers(map, engine) {
	const s = map.section(form.GridSection, 'peer', _('Peers'),
		_('The other side: another router with this package, or any Shadowsocks server that speaks MPTCP. Name a new one in a word and press Add.'));

	s.addremove = true;
	s.anonymous = false;
	s.sortable = false;
	s.nodescriptions = true;

	fields.add(s, 'peer', 'address', _('Addresses'),
		_('One for each of its WANs, or a host name.'));
	fields.add(s, 'peer', 'port', _('Port'),
		_('The TCP port of its Shadowsocks server.'));
	sections.secrets(s, 'peer', engine, {}, { modalonly: true });
	fields.add(s, 'peer', 'keep_alive', _('Keep-alive'),
		_('Seconds of silence after which a connection shows the networks on its way that it lives. More costs less on metered links; 0 leaves it to the proxy program.'), { modalonly: true });
}

const Wans = form.GridSection.extend({
	__name__: 'CBI.MptcpWans',

	renderSectionAdd(extra) {
		if (this.cfgsections().length >= options.MAX_WANS)
			return E('p', [ E('em', [ _('The kernel can use %d WANs at most.').format(options.MAX_WANS) ]) ]);

		return this.super('renderSectionAdd', [ extra ]);
	}
});

/* LuCI makes markup of a title, also of one that is escaped: only a plain name may stand in it */
function dialogTitle(name) {
	const network = uci.get('mptcp-proxy', name, 'interface') ?? '';

	return /^[\w.-]+$/.test(network) ? `${_('WAN')} ${network}` : _('WAN');
}

function isTwin(name, value) {
	return uci.sections('mptcp-proxy', 'wan').some(wan => wan['.name'] != name && wan.interface == value);
}

function wans(map) {
	const s = map.section(Wans, 'wan', _('WANs'),
		_('The WANs that are used together. Each needs a network of its own under Network → Interfaces.'));
	const probing = { modalonly: true };

	s.addremove = true;
	s.anonymous = true;
	s.sortable = false;
	s.nodescriptions = true;
	s.addbtntitle = _('Add a WAN');
	s.modaltitle = dialogTitle;

	fields.add(s, 'wan', 'interface', _('Network'),
		_('The network of this WAN.'), {
			also: (name, value) => !isTwin(name, value) || _('This network is a WAN already')
		});
	fields.add(s, 'wan', 'role', _('Use'),
		_('A backup carries traffic only while no other WAN is healthy.'), { texts: { subflow: _('Always'), backup: _('As a backup'), off: _('Not at all') } });
	fields.add(s, 'wan', 'probe_interval', _('Test every'),
		_('Seconds between two tests of a quiet WAN. While data flows, trouble is noticed at once.'), probing);
	fields.add(s, 'wan', 'probe_timeout', _('Wait for an answer'),
		_('Milliseconds after which a test counts as lost. More than the slowest round trip of this WAN.'), probing);
	fields.add(s, 'wan', 'probe_fail', _('Down after'),
		_('Lost tests in a row after which the WAN is not used.'), probing);
	fields.add(s, 'wan', 'probe_recover', _('Back after'),
		_('Answered tests in a row after which the WAN is used again.'), probing);
}

return baseclass.extend({ peers, wans });
