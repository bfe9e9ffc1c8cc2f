'use strict';
'require baseclass';
'require form';
'require mptcp-proxy.fields as fields';
'require mptcp-proxy.roles as roles';

/*
 * The grid of peers.
 */
function add(map, engine) {
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
	roles.secrets(s, 'peer', engine, {}, { modalonly: true });
}

return baseclass.extend({ add });
