// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';

/* ubus by JSON-RPC, one call a request: see luci.js for what this stands in for */

let serial = 0;

const STATUS = [ 'Command OK', 'Invalid command', 'Invalid argument', 'Method not found', 'Resource not found',
	'No data received', 'Permission denied', 'Request timeout', 'Not supported', 'Unspecified error', 'Connection lost' ];

async function call({ object, method, params, expect, reject }, args) {
	const named = Object.fromEntries((params ?? []).map((name, i) => [ name, args[i] ]));
	const response = await fetch('/ubus/', {
		method: 'POST',
		body: JSON.stringify({ jsonrpc: '2.0', id: ++serial, method: 'call', params: [ '0'.repeat(32), object, method, named ] })
	});
	const message = await response.json();

	if (message.error)
		throw new Error(`RPC call to ${object}/${method} failed with error ${message.error.code}: ${message.error.message}`);

	const [ status, reply ] = message.result;

	if (reject && status != 0)
		throw new Error(`RPC call to ${object}/${method} failed with ubus code ${status}: ${STATUS[status]}`);

	if (!expect)
		return message.result.length > 1 ? reply : status;

	const [ key ] = Object.keys(expect);

	return (key ? reply?.[key] : reply) ?? expect[key];
}

return baseclass.extend({
	declare: options => (...args) => call(options, args),
	getStatusText: status => STATUS[status] ?? 'Unknown error code'
});
