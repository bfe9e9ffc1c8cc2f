import { test } from 'node:test';
import assert from 'node:assert/strict';
import { load, schema } from './load.mjs';

const { OPTIONS, check, theOne } = load('mptcp-proxy.rules');
const { $defs } = schema('mptcp-proxy');

/* One rule as the schema would say it */
function asSchema(rule) {
	const text = { type: 'string' };

	switch (rule.type) {
	case 'flag': return { type: 'boolean', default: rule.standard };
	case 'choice': return { ...text, enum: rule.of, default: rule.standard };
	case 'number': return { type: 'integer', minimum: rule.from, maximum: rule.to, default: rule.standard };
	case 'list': return { type: 'array', items: { ...text, format: rule.each }, uniqueItems: true, default: rule.standard };
	default: return { ...text, format: rule.each, pattern: rule.pattern?.source, 'x-secret': rule.secret, default: rule.standard };
	}
}

/* what is for people, and what a form says by `required` */
const NOTES = [ 'description', 'minItems', 'x-allowed' ];
const bare = rule => Object.fromEntries(Object.entries(rule).filter(([ name ]) => !NOTES.includes(name)));
const clean = object => JSON.parse(JSON.stringify(object));

test('the table is the schema, section by section', () => {
	const kinds = Object.keys($defs).filter(kind => kind != 'sections');

	assert.deepEqual(Object.keys(OPTIONS).sort(), kinds.sort());

	for (const kind of kinds) {
		const { properties, required = [] } = $defs[kind];

		assert.deepEqual(Object.keys(OPTIONS[kind]), Object.keys(properties), kind);
		assert.deepEqual(Object.keys(OPTIONS[kind]).filter(option => OPTIONS[kind][option].required), required, kind);

		for (const option of Object.keys(properties))
			assert.deepEqual(clean(asSchema(OPTIONS[kind][option])), clean(bare(properties[option])), `${kind}.${option}`);
	}
});

test('the ends of every range are in it, what is beside them is not', () => {
	for (const [ kind, options ] of Object.entries(OPTIONS))
		for (const [ option, { type, from, to } ] of Object.entries(options))
			if (type == 'number') {
				for (const value of [ from, to ])
					assert.equal(check(kind, option, String(value)), true);
				for (const value of [ from - 1, to + 1, 'x', '', '1.5', '1e3', ' ' ])
					assert.equal(typeof(check(kind, option, String(value))), 'string', `${kind}.${option} ${value}`);
			}
});

test('of two sections of a role the one that is on counts, as the agent has it', () => {
	const section = (type, name, enabled) => ({ '.type': type, '.name': name, enabled });
	const one = (type, ...all) => theOne(all, type)?.['.name'];

	assert.equal(one('client', section('client', 'a', 'off'), section('client', 'b', 'yes'), section('client', 'c', '1')), 'b');
	assert.equal(one('client', section('client', 'a', '0'), section('client', 'b')), 'b');
	assert.equal(one('server', section('server', 'a'), section('server', 'b', '1')), 'b');
	assert.equal(one('server', section('server', 'a'), section('server', 'b', '0')), 'a');
	assert.equal(one('globals', section('globals', 'a', '0'), section('globals', 'b', '1')), 'a');
	assert.equal(one('client', section('server', 'a', '1')), undefined);
});

test('a message says what is expected', () => {
	assert.equal(check('peer', 'port', '0'), 'Expected: a whole number from 1 to 65535');
	assert.equal(check('peer', 'address', 'a b'), 'Expected: an IP address or a host name');
	assert.equal(check('wan', 'role', 'x'), 'Expected: subflow, backup, off');
	assert.equal(typeof(check('globals', 'buffers', '12')), 'string');
	assert.equal(check('globals', 'buffers', 'auto'), true);
});
