// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';
'require mptcp-proxy.agent as agent';
'require mptcp-proxy.format as format';
'require mptcp-proxy.status_parts as parts';
'require mptcp-proxy.words as words';

/*
 * A few lines on LuCI's own status page. That page waits for all its parts, so this one gives
 * a silent agent less time; and it never fails, since a part that failed once is left out for good.
 */
const PATIENCE = 2000;

document.head.append(E('link', { 'rel': 'stylesheet', 'href': L.resource('mptcp-proxy/style.css') }));

function line(wan) {
	return E('div', { 'data-wan': wan.name }, [
		parts.pill(words.wan(wan)),
		E('strong', [ wan.interface ]),
		E('span', [ `↓ ${format.rate(wan.rx_rate)}  ↑ ${format.rate(wan.tx_rate)}` ])
	]);
}

return baseclass.extend({
	title: _('MPTCP Proxy'),

	load() {
		return agent.status(PATIENCE);
	},

	render(answer) {
		/* Not for this login */
		if (!answer || answer.trouble == 'denied')
			return null;

		const status = answer.reply;
		const word = status ? words.state(status.state) : words.trouble(answer.trouble);

		return E('div', { 'class': 'mptcp-proxy mptcp-widget' }, [
			parts.pill(word),
			E('span', { 'class': 'mptcp-reason' }, [ status ? status.reason : word.reason ]),
			E('a', { 'href': L.url('admin/services/mptcp-proxy/status') }, [ _('Open') ]),
			E('div', { 'class': 'mptcp-widget-wans' }, status ? status.wans.map(line) : [])
		]);
	}
});
