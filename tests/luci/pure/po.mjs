// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Gettext catalogues of the app: just the form that po files here have.
 */
import { readFileSync, existsSync } from 'node:fs';

const PO = new URL('../../../luci-app-mptcp-proxy/po/', import.meta.url);

const unquote = lines => lines.map(line => JSON.parse(line)).join('');

/* [ { id, text } … ], the header left out */
export function entries(name) {
	const file = new URL(name, PO);

	if (!existsSync(file))
		return [];

	return readFileSync(file, 'utf8').split(/\n\n+/).map(block => {
		const lines = block.split('\n').filter(line => !line.startsWith('#') && line != '');
		const at = lines.findIndex(line => line.startsWith('msgstr'));
		const part = (list, keyword) => unquote(list.map(line => line.replace(`${keyword} `, '')));

		return at < 0 ? null : { id: part(lines.slice(0, at), 'msgid'), text: part(lines.slice(at), 'msgstr') };
	}).filter(entry => entry && entry.id != '');
}

export function catalogue(language) {
	return Object.fromEntries(entries(`${language}/mptcp-proxy.po`).filter(e => e.text).map(e => [ e.id, e.text ]));
}
