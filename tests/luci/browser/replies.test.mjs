// SPDX-License-Identifier: GPL-2.0-or-later
/* The replies that the browser tests work with are replies the agent could give */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import Ajv from 'ajv/dist/2020.js';
import { schema } from '../pure/load.mjs';
import * as r from './replies.mjs';

const ajv = new Ajv({ strict: false, allErrors: true });

function valid(name, reply) {
	const check = ajv.getSchema(`urn:mptcp-agent:schema:${name}`) ?? ajv.compile(schema(name));

	assert.ok(check(JSON.parse(JSON.stringify(reply))), JSON.stringify(check.errors, null, 1));
}

test('every status', () => {
	for (const [ name, reply ] of Object.entries(r.statuses()))
		try {
			valid('status', reply);
		}
		catch (error) {
			error.message = `${name}: ${error.message}`;
			throw error;
		}
});

test('connections', () => {
	valid('connections', r.connections());
	valid('connections', r.connections(r.connection(1), r.connection(2, { fallback: true, subflows: [], token: '' })));
	valid('connections', r.hostileConnections());
});

test('check and plan', () => {
	valid('check', r.CHECK);
	valid('check', r.hostileCheck());
	valid('plan', r.PLAN);
	valid('plan', r.EMPTY_PLAN);
	valid('plan', r.hostilePlan());
});
