// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';
'require mptcp-proxy.schema as schema';

/*
 * An option of the schema in LuCI's words, and sections as the agent reads them. Pure.
 */

/* Formats of the schema -> LuCI's datatypes (its validation.js). They take a little more than
 * the agent does (leading zeroes, a netmask with holes): it names what is left over. Interfaces
 * and sections are chosen from those there are. */
const DATATYPES = { address: 'ipaddr("nomask")', network: 'ipaddr', host: 'host' };

/* The option as in schema/: type, default, … */
function rule(kind, option) {
	return schema.OPTIONS[kind][option];
}

/* The datatype for a form field, of each item where it is a list; undefined where any text will do */
function datatype(kind, option) {
	const { type, minimum, maximum, items, format } = rule(kind, option);

	return (type == 'integer') ? `and(uinteger,range(${minimum},${maximum}))` : DATATYPES[items?.format ?? format];
}

/* A flag as it stands in UCI -> true, false, or null where it says neither */
function flag(value) {
	const word = String(value).trim().toLowerCase();

	return schema.YES.includes(word) ? true : schema.NO.includes(word) ? false : null;
}

/* Whether a flag of a section is on, by what it says or else by the default */
function isOn(kind, option, value) {
	return flag(value) ?? rule(kind, option).default;
}

/* The section the agent takes where it wants one of a kind: of two clients or servers the first
 * that is switched on. The first where none is, undefined where there is no section. */
function theOne(sections, kind) {
	const found = sections.filter(s => s['.type'] == kind);

	return (kind != 'globals' && found.find(s => isOn(kind, 'enabled', s.enabled))) || found[0];
}

return baseclass.extend({ MAX_WANS: schema.MAX_WANS, rule, datatype, flag, isOn, theOne });
