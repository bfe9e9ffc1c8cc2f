// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';
'require rpc';

/*
 * Calls to the agent, ubus object luci.mptcp_proxy. Every call resolves, with
 *
 *   { reply: … }                         the agent's answer, as in schema/
 *   { trouble: 'absent', detail: … }     no such object: the agent is not running
 *   { trouble: 'silent', … }             no answer in time
 *   { trouble: 'denied', … }             the login's ACL does not allow it
 *   { trouble: 'failed', … }             anything else, {"error": …} in the reply among it
 */

/* LuCI itself would wait 20 s, in which a page seems dead */
const PATIENCE = 5000;

/* JSON-RPC errors of uhttpd's ubus gateway (its ubus.c), and ubus status codes (ubusmsg.h) */
const TROUBLES = {
	'-32000': 'absent', '-32002': 'denied', '-32003': 'silent',
	4: 'absent', 6: 'denied', 7: 'silent'
};

const CODE = /(?:error|code) (-?\d+)/;

function declare(method) {
	/* nobatch: a slow agent must not hold up what other parts of the page ask */
	return rpc.declare({ object: 'luci.mptcp_proxy', method, nobatch: true });
}

function sort(reply) {
	if (typeof(reply) == 'number')
		return { trouble: TROUBLES[reply] ?? 'failed', detail: rpc.getStatusText(reply) };

	if (reply == null || typeof(reply) != 'object')
		return { trouble: 'failed', detail: '' };

	return reply.error ? { trouble: 'failed', detail: String(reply.error) } : { reply };
}

function excuse(error) {
	const [ , code ] = CODE.exec(error.message) ?? [];

	return { trouble: TROUBLES[code] ?? (code ? 'failed' : 'silent'), detail: error.message };
}

/* While a call is under way a second one waits for the same answer: a hanging agent is not
 * asked again and again. */
function patient(call) {
	let underway = null;

	return (patience = PATIENCE) => {
		underway ??= call().then(sort, excuse).finally(() => { underway = null });

		return Promise.race([
			underway,
			new Promise(resolve => window.setTimeout(() => resolve({ trouble: 'silent', detail: '' }), patience))
		]);
	};
}

/* The one program that whoever may write the settings may run */
const exec = rpc.declare({ object: 'file', method: 'exec', params: [ 'command', 'params' ], nobatch: true });

return baseclass.extend({
	start: patient(() => exec('/etc/init.d/mptcp-proxy', [ 'start' ])),
	status: patient(declare('status')),
	connections: patient(declare('connections')),
	check: patient(declare('check')),
	plan: patient(declare('plan')),
	reload: patient(declare('reload'))
});
