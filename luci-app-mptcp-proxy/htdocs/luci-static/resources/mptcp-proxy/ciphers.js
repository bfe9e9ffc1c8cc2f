// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';
'require mptcp-proxy.schema as schema';

/*
 * Shadowsocks methods and their passwords. Pure, but for the random numbers handed in.
 */

/* Every engine knows it, it is quick without AES hardware, and it wants no special key */
const RECOMMENDED = 'chacha20-ietf-poly1305';

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
const CONTROL = /\p{C}/u;

/* The methods of an engine; all where it is unknown, as it is while the agent is not running */
function offered(engine) {
	return schema.METHODS[engine] ?? [ ...new Set(Object.values(schema.METHODS).flat()) ];
}

/* Bytes of the key that a method needs; 0 where any text will do (SIP022, section 2.1) */
function keyBytes(method) {
	return Object.hasOwn(schema.KEY_BYTES, method) ? schema.KEY_BYTES[method] : 0;
}

/* Bytes behind a base64 text, -1 where it is none */
function bytesOf(text) {
	if (text.length % 4 || !BASE64.test(text))
		return -1;

	return text.length / 4 * 3 - (text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0);
}

/* true, or what is wrong with the password. Towards a server with several users a client may
 * have several keys, KEY:KEY (SIP022-2). */
function checkPassword(method, password, several) {
	const bytes = keyBytes(method);
	const keys = (several && schema.SEVERAL_KEYS.includes(method)) ? password.split(':') : [ password ];

	if (method == 'none')
		return true;

	if (password == '')
		return _('The method %s needs a password').format(method);

	if (CONTROL.test(password))
		return _('This holds characters that are not text');

	if (bytes && !keys.every(key => bytesOf(key) == bytes))
		return _('The method %s needs a key of %d bytes in base64: press Generate, and copy it to the other side').format(method, bytes);

	return true;
}

/* A password as good as the method's key; random(n) gives n random bytes */
function generate(method, random) {
	return btoa(String.fromCharCode(...random(keyBytes(method) || 18)));
}

return baseclass.extend({ RECOMMENDED, offered, keyBytes, checkPassword, generate });
