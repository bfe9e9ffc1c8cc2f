'use strict';
'require view';
'require form';
'require uci';
'require mptcp-proxy.agent as agent';
'require mptcp-proxy.peers as peers';
'require mptcp-proxy.roles as roles';
'require mptcp-proxy.style';
'require mptcp-proxy.target as target';
'require mptcp-proxy.wans as wans';
'require mptcp-proxy.words as words';

const CONFIG = 'mptcp-proxy';

return view.extend({
	load() {
		return Promise.all([
			uci.load(CONFIG).then(() => true, () => false),
			agent.status()
		]);
	},

	render([ loaded, answer ]) {
		if (!loaded)
			return E('div', { 'class': 'alert-message warning' }, [
				_('The settings cannot be read: this login may only look at the status, or the file /etc/config/mptcp-proxy is missing.')
			]);

		const chosen = uci.sections(CONFIG, 'globals')[0]?.engine;
		const engine = answer.reply?.engine?.name ?? chosen;
		const map = new form.Map(CONFIG, _('MPTCP Proxy'),
			_('TCP connections of the LAN ride all links at once, through a server that puts them together again.'));

		map.tabbed = true;
		roles.globals(map);
		roles.client(map);
		roles.server(map, engine);
		peers.add(map, engine);
		wans.add(map);

		return map.render().then(node => {
			window.setTimeout(() => target.show(map, window.location.hash), 0);
			window.addEventListener('hashchange', () => target.show(map, window.location.hash));

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
