// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';
'require form';
'require uci';
'require mptcp-proxy.fields as fields';
'require mptcp-proxy.ciphers as ciphers';
'require mptcp-proxy.options as options';

/*
 * The sections of which there is one: what holds for the whole router, and its two roles.
 */

const CONFIG = 'mptcp-proxy';

/* A form for a section that may be missing: it is made when there is something to say in it. An
 * empty one would not do: a client section without a peer is a problem. */
const Single = form.TypedSection.extend({
	__name__: 'CBI.MptcpSingle',

	/* the one the agent takes */
	cfgsections() {
		return [ options.theOne(uci.sections(CONFIG), this.sectiontype)?.['.name'] ?? this.sectiontype ];
	},

	parse() {
		const [ name ] = this.cfgsections();

		if (!uci.get(CONFIG, name)) {
			if (this.sectiontype != 'globals' && this.formvalue(name, 'enabled') != '1')
				return Promise.resolve();

			uci.add(CONFIG, this.sectiontype, name);
		}

		return this.super('parse', []);
	}
});

function section(map, type, title, help) {
	const s = map.section(Single, type, title, help);

	s.anonymous = true;
	s.addremove = false;

	return s;
}

function globals(map) {
	const s = section(map, 'globals', _('General'));

	fields.add(s, 'globals', 'enabled', _('Enabled'),
		_('Off takes everything back: the router is then as if the package were not installed.'), { rmempty: false });
	fields.add(s, 'globals', 'engine', _('Proxy program'),
		_('Automatic takes the first one that is installed.'), { texts: { auto: _('Automatic') } });
	fields.add(s, 'globals', 'redirect', _('Redirection by'),
		_('What turns connections of the LAN into the proxy. Automatic is right on every current OpenWrt.'), { texts: { auto: _('Automatic') } });
	fields.add(s, 'globals', 'buffers', _('TCP buffers'),
		_('auto makes them as large as the WANs together need; off leaves them alone; a number is a limit in bytes. Too small ones do not carry the sum, too large ones make the change-over after a failure slower.'),
		{ placeholder: 'auto' });
	fields.add(s, 'globals', 'log_level', _('System log'),
		_('How much the agent writes to the system log.'), { texts: {
			error: _('Errors only'), warning: _('Warnings too'), info: _('Every change it makes'), debug: _('Everything')
		} });
}

function client(map) {
	const s = section(map, 'client', _('Client'),
		_('This router sends the TCP connections of its LAN to a peer, over all WANs at once.'));
	const on = { enabled: '1' };

	fields.add(s, 'client', 'enabled', _('This router is a client'), '', {
		rmempty: false,
		/* a section that says nothing is on, a missing one is off */
		load: name => uci.get(CONFIG, name, 'enabled') ?? (uci.get(CONFIG, name) ? '1' : '0')
	});

	const peer = fields.add(s, 'client', 'peer', _('Peers'),
		_('The first one that answers is used; the others stand by, in this order. They are described under Peers.'), {
			depends: on,
			also: (name, value) => uci.get(CONFIG, value)?.['.type'] == 'peer' || _('There is no peer of this name')
		});
	const load = peer.load;

	/* anew each time: the form is loaded again when a peer is added or taken away under Peers */
	peer.load = function(name) {
		this.keylist = [];
		this.vallist = [];

		for (const one of uci.sections(CONFIG, 'peer'))
			this.value(one['.name']);

		return load.call(this, name);
	};
	fields.add(s, 'client', 'lan', _('Networks to serve'),
		_('The networks whose connections go through the proxy: usually only lan.'), { depends: on });
	fields.add(s, 'client', 'when_down', _('While no peer answers'),
		_('What the LAN gets meanwhile: the Internet over one WAN, or nothing, so that nothing leaves past the proxy.'), { depends: on, texts: {
			bypass: _('Internet without proxy'), block: _('No Internet')
		} });
	fields.add(s, 'client', 'bypass', _('Leave alone'),
		_('Addresses or networks that are reached without the proxy, such as 203.0.113.0/24. The LAN itself, the router and the peers always are.'), { depends: on });
	fields.add(s, 'client', 'local_port', _('Local port'),
		_('A free TCP port of this router for the proxy program. Nobody connects to it by hand.'), { depends: on });
	fields.add(s, 'client', 'timeout', _('Close when idle, after'),
		_('Seconds without a byte after which the proxy closes a connection.'), { depends: on });
	fields.add(s, 'client', 'fast_open', 'TCP Fast Open',
		_('Saves a round trip at the start of a connection. Many networks on the way dislike it.'), { depends: on });
}

/* The methods an engine has, and the one that is configured even where the engine has it not */
function methodValues(engine, present) {
	const offered = ciphers.offered(engine);
	const extra = present.filter(method => method && !offered.includes(method));
	const text = method => (method == 'none') ? _('none (not encrypted)')
		: offered.includes(method) ? method : _('%s (not known to %s)').format(method, engine);

	return [ ...new Set([ ...offered, ...extra ]) ].map(method => [ method, text(method) ]);
}

/* The form conditions for a method that wants a password: any but none */
function wantsPassword(values, condition) {
	return values.filter(([ method ]) => method != 'none').map(([ method ]) => ({ ...condition, method }));
}

/* Method and password, of a server or a peer */
function secrets(s, kind, engine, condition, more) {
	const values = methodValues(engine, uci.sections(CONFIG, kind).map(one => one.method));

	fields.add(s, kind, 'method', _('Encryption'),
		_('The same on both sides. Without it (none) everyone on the way can read along: only for networks of your own.'), {
			widget: form.ListValue,
			default: 'none',
			depends: condition,
			values
		});
	fields.add(s, kind, 'password', _('Password'),
		_('The same on both sides. Methods beginning with 2022- need a key, which Generate makes.'), {
			...more,
			depends: wantsPassword(values, condition),
			validate(name, value) {
				return ciphers.checkPassword(this.section.formvalue(name, 'method') || 'none', value ?? '', kind == 'peer');
			}
		});
}

function server(map, engine) {
	const s = section(map, 'server', _('Server'),
		_('Other routers connect to this one; it puts their connections together again and passes them on.'));
	const on = { enabled: '1' };

	fields.add(s, 'server', 'enabled', _('This router is a server'), '', { rmempty: false });
	fields.add(s, 'server', 'port', _('Port'),
		_('The TCP port that clients connect to. The firewall has to let it in from the WAN.'), { depends: on });
	secrets(s, 'server', engine, on);
	fields.add(s, 'server', 'allow', _('Allowed networks'),
		_('Who may connect, such as 10.1.1.0/24; everybody where empty. Needed without encryption, else anyone could use this router as a proxy.'), {
			depends: on,
			validate(name, value) {
				const open = (this.section.formvalue(name, 'method') || 'none') == 'none';

				return !open || (value ?? '').length > 0 || (this.formvalue(name) ?? []).length > 0 || _('Needed where there is no encryption');
			}
		});
	fields.add(s, 'server', 'listen', _('Listen on'),
		_('Keep it at all addresses: 0.0.0.0, or :: for IPv6 as well. Subflows arrive on every WAN.'), { depends: on });
	fields.add(s, 'server', 'timeout', _('Close when idle, after'),
		_('Seconds without a byte after which the proxy closes a connection.'), { depends: on });
	fields.add(s, 'server', 'fast_open', 'TCP Fast Open',
		_('Lets clients save a round trip at the start of a connection.'), { depends: on });
}

return baseclass.extend({ globals, client, server, secrets, methodValues, wantsPassword });
