// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require view';
'require form';
'require rpc';
'require uci';
'require ui';
'require mptcp-proxy.agent as agent';
'require mptcp-proxy.ciphers as ciphers';
'require mptcp-proxy.fields as fields';
'require mptcp-proxy.options as options';
'require mptcp-proxy.sections as sections';
'require mptcp-proxy.setup as setup';

/*
 * A few questions, and a working configuration. The questions are a form over a plain object;
 * what the answers come to is decided in setup.js.
 */

const CONFIG = 'mptcp-proxy';

document.head.append(E('link', { 'rel': 'stylesheet', 'href': L.resource('mptcp-proxy/style.css') }));

const callInterfaces = rpc.declare({ object: 'network.interface', method: 'dump', expect: { interface: [] } });

function configured() {
	return uci.sections(CONFIG);
}

function needed(message) {
	return function(name, value) {
		const given = Array.isArray(value) ? value.join('') : (value ?? '');

		return given != '' || (this.formvalue(name) ?? '').length > 0 || message;
	};
}

function question(s, type, option, title, help, more) {
	const field = s.option(type, option, title, help);
	const { depends, values, ...rest } = more ?? {};

	for (const [ value, text ] of values ?? [])
		field.value(value, text);

	for (const dependency of [].concat(depends ?? []))
		field.depends(dependency);

	return Object.assign(field, { rmempty: true, retain: true }, rest);
}

function networkText({ name, device, up, address }) {
	return [ name, device != name ? device : '', up ? address : _('not connected') ]
		.filter(text => text != '').join(', ');
}

function questions(answers, networks, engine) {
	const map = new form.JSONMap({ answers }, _('Assistant'),
		_('Several WANs become one: the router with the LAN splits every TCP connection over all its WANs, and another router or a server outside puts it together again. Run the assistant on both.'));
	const s = map.section(form.NamedSection, 'answers');
	const client = { role: 'client' };
	const server = { role: 'server' };
	const values = sections.methodValues(engine, [ answers.method ]);

	question(s, form.ListValue, 'role', _('What is this router?'), '', { widget: 'radio', orientation: 'vertical', values: [
		[ 'client', _('The one with the LAN: I have another router or a server outside') ],
		[ 'server', _('The one outside: other routers connect to this one') ]
	] });
	question(s, form.DynamicList, 'address', _('Address of the other side'),
		_('The address of the other router or the server; where it has several WANs, the address of each.'), {
			depends: client,
			datatype: options.datatype('peer', 'address'),
			validate: needed(_('This is needed'))
		});
	question(s, form.Value, 'port', _('Port'), _('The same on both sides.'), {
		placeholder: String(options.rule('peer', 'port').default),
		datatype: options.datatype('peer', 'port')
	});
	question(s, form.ListValue, 'method', _('Encryption'), _('The same on both sides.'), { values });
	question(s, fields.Secret, 'password', _('Password'),
		_('The same on both sides: generate it here and copy it, or enter the other side\'s.'), {
			depends: sections.wantsPassword(values),
			validate(name, value) {
				return ciphers.checkPassword(this.section.formvalue(name, 'method'), value ?? '', this.section.formvalue(name, 'role') == 'client');
			}
		});
	question(s, form.DynamicList, 'allow', _('Allowed networks'),
		_('Who may connect, such as 10.1.1.0/24. Needed without encryption.'), {
			depends: server,
			datatype: options.datatype('server', 'allow'),
			validate(name, value) {
				return this.section.formvalue(name, 'method') != 'none' || needed(_('Needed where there is no encryption')).call(this, name, value);
			}
		});
	question(s, fields.Ticks, 'wans', _('WANs to use'),
		_('Every WAN that should carry traffic, up to %d.').format(options.MAX_WANS), {
			values: networks.map(network => [ network.name, networkText(network) ]),
			validate(name, value) {
				return value.length == 0 ? _('Choose at least one WAN')
					: value.length <= options.MAX_WANS || _('The kernel can use %d WANs at most.').format(options.MAX_WANS);
			}
		});

	return map;
}

function write(changes) {
	for (const { type, name, options, remove } of changes) {
		if (remove) {
			uci.remove(CONFIG, name);
			continue;
		}

		if (!uci.get(CONFIG, name))
			uci.add(CONFIG, type, name);

		for (const [ option, value ] of Object.entries(options))
			if (value == null)
				uci.unset(CONFIG, name, option);
			else
				uci.set(CONFIG, name, option, value);
	}
}

return view.extend({
	load() {
		return Promise.all([
			uci.load(CONFIG).then(() => true, () => false),
			L.resolveDefault(callInterfaces(), []),
			agent.status()
		]);
	},

	render([ loaded, dump, answer ]) {
		if (!loaded) {
			/* no buttons: nothing is there to be saved */
			Object.assign(this, { handleSaveApply: null, handleSave: null, handleReset: null });

			return E('div', { 'class': 'alert-message warning' }, [ _('The settings cannot be read: this login may only look at the status, or the file /etc/config/mptcp-proxy is missing.') ]);
		}

		const lan = [].concat(options.theOne(configured(), 'client')?.lan ?? options.rule('client', 'lan').default);
		const networks = setup.candidates(dump, lan);

		this.answers = setup.beginning(configured(), networks, ciphers.RECOMMENDED);
		this.map = questions(this.answers, networks, answer.reply?.engine?.name);

		return this.map.render().then(node => E('div', { 'class': 'mptcp-proxy' }, [ node ]));
	},

	handleSave() {
		return this.map.save(() => write(setup.changes(this.answers, configured())))
			.then(() => uci.save());
	},

	handleSaveApply(ev, mode) {
		return this.handleSave().then(() => {
			/* LuCI loads the page again when all is applied: then let it be the one with the result */
			window.history.replaceState(null, '', L.url('admin/services/mptcp-proxy/status'));

			return ui.changes.apply(mode == '0');
		});
	},

	handleReset: null
});
