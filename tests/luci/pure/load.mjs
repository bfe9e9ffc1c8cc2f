// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Loads a module of the app without a browser: what LuCI's loader does, with classes that are
 * plain objects, and texts that are not translated.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const APP = fileURLToPath(new URL('../../../luci-app-mptcp-proxy/', import.meta.url));
export const RESOURCES = `${APP}htdocs/luci-static/resources/`;
const CONFIG = fileURLToPath(new URL('../../../files/mptcp-proxy.config', import.meta.url));
export const SCHEMA = fileURLToPath(new URL('../../../schema/', import.meta.url));

const REQUIRE = /^'require (\S+)(?: as (\w+))?';$/gm;

String.prototype.format = function(...args) {
	return this.replace(/%[sd]/g, () => String(args.shift()));
};

export function load(name, given = {}) {
	const source = readFileSync(`${RESOURCES}${name.replaceAll('.', '/')}.js`, 'utf8');
	const known = { baseclass: { extend: properties => properties }, _: text => text, ...given };

	for (const [ , module, as ] of source.matchAll(REQUIRE))
		known[as ?? module] ??= load(module);

	return new Function(...Object.keys(known), source)(...Object.values(known));
}

/* The sections of the configuration that the package puts on a router */
export function shipped() {
	const sections = [];

	for (const line of readFileSync(CONFIG, 'utf8').split('\n')) {
		const [ , word, name, value ] = /^\s*(config|option|list) (\w+) '(.*)'$/.exec(line) ?? [];
		const section = sections.at(-1);

		if (word == 'config')
			sections.push({ '.type': name, '.name': value });
		else if (word == 'option')
			section[name] = value;
		else if (word == 'list')
			section[name] = [ ...section[name] ?? [], value ];
	}

	return sections;
}

export function schema(name) {
	return JSON.parse(readFileSync(`${SCHEMA}${name}.schema.json`, 'utf8'));
}
