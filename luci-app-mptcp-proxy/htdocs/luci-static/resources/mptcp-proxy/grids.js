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
		_('One for each of its WAN links, or a host name.'));
	fields.add(s, 'peer', 'port', _('Port'),
		_('The TCP port of its Shadowsocks server.'));
	sections.secrets(s, 'peer', engine, {}, { modalonly: true });
}

const Links = form.GridSection.extend({
	__name__: 'CBI.MptcpLinks',

	renderSectionAdd(extra) {
		if (this.cfgsections().length >= options.MAX_WANS)
			return E('p', [ E('em', [ _('The kernel can use %d links at most.').format(options.MAX_WANS) ]) ]);

		return this.super('renderSectionAdd', [ extra ]);
	}
});

function isTwin(name, value) {
	return uci.sections('mptcp-proxy', 'wan').some(wan => wan['.name'] != name && wan.interface == value);
}

function wans(map) {
	const s = map.section(Links, 'wan', _('Links'),
		_('The lines to the outside that are used together. Each needs a network of its own under Network → Interfaces.'));
	const probing = { modalonly: true };

	s.addremove = true;
	s.anonymous = true;
	s.sortable = false;
	s.nodescriptions = true;
	s.addbtntitle = _('Add a link');

	fields.add(s, 'wan', 'interface', _('Network'),
		_('The network of this line.'), {
			also: (name, value) => !isTwin(name, value) || _('This network is a link already')
		});
	fields.add(s, 'wan', 'role', _('Use'),
		_('A backup carries traffic only while no other link is healthy.'), { texts: { subflow: _('Always'), backup: _('As a backup'), off: _('Not at all') } });
	fields.add(s, 'wan', 'probe_interval', _('Test every'),
		_('Seconds between two tests of a quiet link. While data flows, trouble is noticed at once.'), probing);
	fields.add(s, 'wan', 'probe_timeout', _('Wait for an answer'),
		_('Milliseconds after which a test counts as lost. More than the slowest round trip of this link.'), probing);
	fields.add(s, 'wan', 'probe_fail', _('Down after'),
		_('Lost tests in a row after which the link is not used.'), probing);
	fields.add(s, 'wan', 'probe_recover', _('Back after'),
		_('Answered tests in a row after which the link is used again.'), probing);
}

return baseclass.extend({ peers, wans });
