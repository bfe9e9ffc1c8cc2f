// SPDX-License-Identifier: GPL-2.0-or-later
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { APP, RESOURCES } from './load.mjs';
import { entries } from './po.mjs';

const read = path => readFileSync(path, 'utf8');
const sources = readdirSync(RESOURCES, { recursive: true }).filter(name => name.endsWith('.js')).map(name => [ name, read(RESOURCES + name) ]);
const menu = JSON.parse(read(`${APP}root/usr/share/luci/menu.d/luci-app-mptcp-proxy.json`));
const acl = JSON.parse(read(`${APP}root/usr/share/rpcd/acl.d/luci-app-mptcp-proxy.json`));

/* What LuCI brings, at least since 24.10 */
const LUCI = [ 'baseclass', 'form', 'poll', 'rpc', 'tools.widgets', 'uci', 'ui', 'view' ];

/* Texts LuCI itself translates */
const titles = Object.values(menu).map(entry => entry.title);

test('the rights are the least: looking, and for those who may change things the rest', () => {
	assert.deepEqual(acl, { 'luci-app-mptcp-proxy': {
		description: 'See and configure the MPTCP proxy',
		read: { ubus: { 'luci.mptcp_proxy': [ 'status', 'connections', 'check', 'plan' ] } },
		write: {
			file: { '/etc/init.d/mptcp-proxy start': [ 'exec' ] },
			ubus: { file: [ 'exec' ], 'luci.mptcp_proxy': [ 'reload' ] },
			uci: { 'mptcp-proxy': [ 'read', 'write' ] }
		}
	} });
});

test('every page of the menu is there, and behind the rights', () => {
	assert.deepEqual(menu['admin/services/mptcp-proxy'].depends.acl, Object.keys(acl));
	for (const { action } of Object.values(menu))
		assert.ok(action.type == 'alias' ? menu[action.path] : existsSync(`${RESOURCES}view/${action.path}.js`), action.path);
});

test('every module that is required is there', () => {
	for (const [ name, source ] of sources)
		for (const [ , module ] of source.matchAll(/^'require (\S+?)(?: as \w+)?';$/gm))
			assert.ok(LUCI.includes(module) || existsSync(`${RESOURCES}${module.replaceAll('.', '/')}.js`), `${name}: ${module}`);
});

test('no markup in strings, and nothing that would make some', () => {
	for (const [ name, source ] of sources) {
		assert.doesNotMatch(source, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser/, name);
		assert.doesNotMatch(source, /['"`]<\/?[a-z]/i, name);
		/* E('p', text) makes markup of text, E('p', [ text ]) does not */
		assert.doesNotMatch(source, /\bE\('[a-z0-9]+', (?!\{|\[|nodes|heads|pairs|children|c\.|wans|status)[^)]/, name);
	}
});

test('a file is one idea: fewer than 300 lines', () => {
	for (const [ name, source ] of sources)
		assert.ok(source.split('\n').length < 300, name);
});

/* _('…'), also over string escapes */
function texts() {
	const found = sources.flatMap(([ , source ]) => [ ...source.matchAll(/\b_\('((?:[^'\\]|\\.)*)'\)/g) ].map(([ , text ]) => text.replaceAll("\\'", "'")));

	return new Set([ ...found, ...titles, acl['luci-app-mptcp-proxy'].description ]);
}

test('every text is a literal that a translator finds', () => {
	for (const [ name, source ] of sources)
		assert.deepEqual([ ...source.matchAll(/\b_\((?!')/g) ], [], name);
});

test('the template holds every text, and no other', () => assert.deepEqual(
	entries('templates/mptcp-proxy.pot').map(e => e.id).sort(), [ ...texts() ].sort()));

test('the German translation is whole, and keeps every placeholder in its order', () => {
	const german = entries('de/mptcp-proxy.po');
	const holes = text => text.match(/%[a-z]/g) ?? [];

	assert.deepEqual(german.map(e => e.id).sort(), [ ...texts() ].sort());
	for (const { id, text } of german) {
		assert.notEqual(text, '', id);
		assert.deepEqual(holes(text), holes(id), id);
	}
});
