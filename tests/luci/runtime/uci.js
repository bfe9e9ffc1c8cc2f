// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';
'require rpc';

/*
 * UCI with its changes kept here until save(): additions, settings and removals, as LuCI does.
 */

const callGet = rpc.declare({ object: 'uci', method: 'get', params: [ 'config' ], expect: { values: {} }, reject: true });
const callAdd = rpc.declare({ object: 'uci', method: 'add', params: [ 'config', 'type', 'name', 'values' ], expect: { section: '' }, reject: true });
const callSet = rpc.declare({ object: 'uci', method: 'set', params: [ 'config', 'section', 'values' ], reject: true });
const callDelete = rpc.declare({ object: 'uci', method: 'delete', params: [ 'config', 'section', 'options' ], reject: true });

const values = {};
let created = new Map(), changed = new Map(), gone = new Map();
let serial = 0;

const id = (config, name) => `${config}.${name}`;

function find(config, name) {
	return gone.has(id(config, name)) ? undefined : created.get(id(config, name))?.section ?? values[config]?.[name];
}

return baseclass.extend({
	async load(config) {
		if (!values[config])
			values[config] = await callGet(config);
	},

	sections(config, type) {
		const fresh = [ ...created.values() ].filter(c => c.config == config).map(c => c.section);

		return [ ...Object.values(values[config] ?? {}), ...fresh ].map(s => find(config, s['.name']))
			.filter(s => s && (!type || s['.type'] == type))
			.map(s => this.get(config, s['.name']));
	},

	/* without an option the section, as LuCI does */
	get(config, name, option) {
		const section = find(config, name);

		if (!section)
			return null;

		const merged = { ...section, ...changed.get(id(config, name)) };

		for (const key of Object.keys(merged))
			if (merged[key] === null)
				delete merged[key];

		return option ? merged[option] ?? null : merged;
	},

	set(config, name, option, value) {
		if (!find(config, name))
			return;

		const key = id(config, name);

		changed.set(key, { ...changed.get(key), [option]: (value === '' || value == null) ? null : value });
	},

	unset(config, name, option) {
		this.set(config, name, option, null);
	},

	add(config, type, name) {
		const key = name ?? `new${++serial}`;

		gone.delete(id(config, key));
		created.set(id(config, key), { config, section: { '.type': type, '.name': key, '.anonymous': !name } });

		return key;
	},

	remove(config, name) {
		changed.delete(id(config, name));

		if (!created.delete(id(config, name)))
			gone.set(id(config, name), { config, name });
	},

	async save() {
		for (const [ key, { config, section } ] of created) {
			const options = Object.fromEntries(Object.entries(changed.get(key) ?? {}).filter(([ , value ]) => value !== null));

			await callAdd(config, section['.type'], section['.anonymous'] ? undefined : section['.name'], options);
			changed.delete(key);
		}

		for (const [ key, options ] of changed) {
			const [ config, name ] = key.split('.');
			const set = Object.fromEntries(Object.entries(options).filter(([ , value ]) => value !== null));
			const removed = Object.keys(options).filter(option => options[option] === null && values[config][name][option] != null);

			if (Object.keys(set).length)
				await callSet(config, name, set);

			if (removed.length)
				await callDelete(config, name, removed);
		}

		for (const { config, name } of gone.values())
			await callDelete(config, name);

		created = new Map(), changed = new Map(), gone = new Map();

		for (const config of Object.keys(values))
			values[config] = await callGet(config);
	}
});
