#!/usr/bin/env node
// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writes po/templates/mptcp-proxy.pot anew from the sources, and brings the translations into
 * its order: new texts are empty, texts that are gone go. Run it after changing a text.
 */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { APP } from './pure/load.mjs';
import { catalogue } from './pure/po.mjs';

const HEADER = language => `msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n${language ? `"Language: ${language}\\n"\n` : ''}`;

const files = readdirSync(`${APP}htdocs`, { recursive: true }).filter(name => name.endsWith('.js')).map(name => `htdocs/${name}`)
	.concat('root/usr/share/luci/menu.d/luci-app-mptcp-proxy.json', 'root/usr/share/rpcd/acl.d/luci-app-mptcp-proxy.json').sort();

const places = new Map();

for (const file of files)
	readFileSync(APP + file, 'utf8').split('\n').forEach((line, i) => {
		const pattern = file.endsWith('.js') ? /\b_\('((?:[^'\\]|\\.)*)'\)/g : /"(?:title|description)": "([^"]*)"/g;

		for (const [ , text ] of line.matchAll(pattern)) {
			const id = text.replaceAll("\\'", "'");

			places.set(id, [ ...places.get(id) ?? [], `${file}:${i + 1}` ]);
		}
	});

const ids = [ ...places.keys() ].sort();
const blocks = text => ids.map(id => `#: ${places.get(id).join(' ')}\nmsgid ${JSON.stringify(id)}\nmsgstr ${JSON.stringify(text(id))}\n`);

writeFileSync(`${APP}po/templates/mptcp-proxy.pot`, [ HEADER(), ...blocks(() => '') ].join('\n'));

for (const language of readdirSync(`${APP}po`).filter(name => name != 'templates')) {
	const known = catalogue(language);

	writeFileSync(`${APP}po/${language}/mptcp-proxy.po`, [ HEADER(language), ...blocks(id => known[id] ?? '') ].join('\n'));
}
