// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';

/*
 * The datatypes of LuCI that the app uses, by the names and messages that they have there. Not
 * what each takes in every corner: that is LuCI's.
 */

const isIPv4 = text => /^\d+\.\d+\.\d+\.\d+$/.test(text) && text.split('.').every(part => +part <= 255);

const isIPv6 = text => text.includes(':') && URL.canParse(`http://[${text}]/`);

const isPrefix = (text, most) => /^\d+$/.test(text) && +text <= most;

const isNetwork = (address, prefix, ...more) => !more.length &&
	(isIPv4(address) ? isPrefix(prefix, 32) || isIPv4(prefix) : isIPv6(address) && isPrefix(prefix, 128));

const TYPES = {
	uinteger: [ text => /^\d+$/.test(text), () => _('positive integer value') ],
	range: [ (text, min, max) => +text >= min && +text <= max, (min, max) => _('value between %d and %d').format(min, max) ],
	ipaddr: [ (text, nomask) => isIPv4(text) || isIPv6(text) || (!nomask && isNetwork(...text.split('/'))),
		nomask => nomask ? _('valid IP address') : _('valid IP address or prefix') ],
	host: [ text => isIPv4(text) || isIPv6(text) || /^\w[\w.-]*$/.test(text) && /[^\d.]/.test(text), () => _('valid hostname or IP address') ]
};

/* and(a,b(1,2)) -> [ [ 'a', [] ], [ 'b', [ 1, 2 ] ] ]; one name alone is a list of one */
function parse(datatype) {
	return [ ...datatype.replace(/^and\((.*)\)$/, '$1').matchAll(/(\w+)(?:\(([^)]*)\))?/g) ]
		.map(([ , name, args ]) => [ name, JSON.parse(`[${args ?? ''}]`) ]);
}

return baseclass.extend({
	/* true, or what is expected */
	check(datatype, text) {
		for (const [ name, args ] of parse(datatype)) {
			const [ fits, message ] = TYPES[name];

			if (!fits(text, ...args))
				return _('Expecting: %s').format(message(...args));
		}

		return true;
	}
});
