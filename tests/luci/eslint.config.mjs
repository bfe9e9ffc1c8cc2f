// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The rules of LuCI's own eslint.config.mjs (eslint's recommended ones, files that are the body
 * of a function), and stricter where it is lax: what is undefined or unused is an error.
 * Run by `npm run lint` here, which test_luci.py does too.
 */
import js from '@eslint/js';
import globals from 'globals';
import { readFileSync, readdirSync } from 'node:fs';
import { RESOURCES } from './pure/load.mjs';

/* LuCI's loader hands a file what its 'require x as y' strings name: these are its globals */
const required = file => Object.fromEntries([ ...readFileSync(file, 'utf8').matchAll(/^'require (\S+?)(?: as (\w+))?';$/gm) ]
	.map(([ , module, as ]) => [ as ?? module.replace(/\W/g, '_'), 'readonly' ]));

const luci = { _: 'readonly', L: 'readonly', E: 'readonly' };

const app = folder => readdirSync(folder, { recursive: true }).filter(name => name.endsWith('.js')).map(name => ({
	files: [ `**/${name}` ],
	languageOptions: {
		sourceType: 'script', ecmaVersion: 2022, parserOptions: { ecmaFeatures: { globalReturn: true } },
		globals: { ...globals.browser, ...luci, ...required(`${folder}/${name}`) }
	},
	rules: { 'no-unused-vars': [ 'error', { args: 'after-used', caughtErrors: 'none' } ], 'no-undef': 'error', 'strict': [ 'error', 'global' ], 'eqeqeq': 'off' }
}));

export default [
	{ ignores: [ '**/node_modules/**' ] },
	js.configs.recommended,
	{ files: [ '**/*.mjs' ], languageOptions: { globals: { ...globals.node, ...globals.browser } } },
	...app(RESOURCES.replace(/\/$/, '')),
	...app(new URL('runtime', import.meta.url).pathname),
	{ files: [ '**/runtime/luci.js' ], rules: { 'no-undef': 'error' }, languageOptions: { globals: globals.browser } }
];
