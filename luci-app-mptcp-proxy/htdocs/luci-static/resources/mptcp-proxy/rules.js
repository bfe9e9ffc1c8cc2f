'use strict';
'require baseclass';

/*
 * What each option may be: the same as schema/mptcp-proxy.schema.json, which is what the agent
 * checks. tests/luci holds the two against each other, this table and the checks below.
 */

const OPTIONS = {
	globals: {
		enabled: { type: 'flag', standard: true },
		engine: { type: 'choice', of: [ 'auto', 'sing-box', 'shadowsocks-rust', 'shadowsocks-libev' ], standard: 'auto' },
		redirect: { type: 'choice', of: [ 'auto', 'nftables', 'iptables' ], standard: 'auto' },
		log_level: { type: 'choice', of: [ 'error', 'warning', 'info', 'debug' ], standard: 'info' },
		buffers: { type: 'text', pattern: /^(auto|off|[1-9][0-9]{4,8})$/, standard: 'auto' }
	},
	peer: {
		address: { type: 'list', each: 'host', required: true },
		port: { type: 'number', from: 1, to: 65535, standard: 8388 },
		method: { type: 'text', pattern: /^[a-z0-9][a-z0-9-]*$/, standard: 'none' },
		password: { type: 'text', secret: true, standard: '' }
	},
	client: {
		enabled: { type: 'flag', standard: true },
		peer: { type: 'list', each: 'section', required: true },
		local_port: { type: 'number', from: 1, to: 65535, standard: 1080 },
		lan: { type: 'list', each: 'interface', standard: [ 'lan' ] },
		bypass: { type: 'list', each: 'network', standard: [] },
		when_down: { type: 'choice', of: [ 'bypass', 'block' ], standard: 'bypass' },
		timeout: { type: 'number', from: 10, to: 86400, standard: 300 },
		fast_open: { type: 'flag', standard: false }
	},
	server: {
		enabled: { type: 'flag', standard: false },
		listen: { type: 'list', each: 'address', standard: [ '0.0.0.0' ] },
		port: { type: 'number', from: 1, to: 65535, standard: 8388 },
		method: { type: 'text', pattern: /^[a-z0-9][a-z0-9-]*$/, standard: 'none' },
		password: { type: 'text', secret: true, standard: '' },
		allow: { type: 'list', each: 'network', standard: [] },
		timeout: { type: 'number', from: 10, to: 86400, standard: 300 },
		fast_open: { type: 'flag', standard: false }
	},
	wan: {
		interface: { type: 'text', each: 'interface', required: true },
		role: { type: 'choice', of: [ 'subflow', 'backup', 'off' ], standard: 'subflow' },
		probe_interval: { type: 'number', from: 1, to: 3600, standard: 5 },
		probe_timeout: { type: 'number', from: 100, to: 30000, standard: 2000 },
		probe_fail: { type: 'number', from: 1, to: 100, standard: 3 },
		probe_recover: { type: 'number', from: 1, to: 100, standard: 2 }
	}
};

/* The words that the agent takes for yes and no in UCI: core/options.py */
const YES = [ '1', 'on', 'true', 'yes', 'enabled' ];
const NO = [ '0', 'off', 'false', 'no', 'disabled' ];

/* Most wan sections: what the kernel can use at once (MPTCP_PM_ADDR_MAX) */
const MOST_WANS = 8;

const OCTET = /^(0|[1-9][0-9]{0,2})$/;
const GROUP = /^[0-9A-Fa-f]{1,4}$/;
const LABEL = /^(?!-)[A-Za-z0-9_-]{1,63}$/;
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$/;
const WHOLE = /^-?[0-9]{1,18}$/;
const DIGITS = /^[0-9]+$/;

function isIPv4(text) {
	const parts = text.split('.');

	return parts.length == 4 && parts.every(part => OCTET.test(part) && +part <= 255);
}

function isIPv6(text) {
	const halves = text.split('::');

	if (halves.length > 2)
		return false;

	const groups = halves.flatMap(half => half == '' ? [] : half.split(':'));
	const last = groups[groups.length - 1] ?? '';
	const tail = last.includes('.') && text.endsWith(last);

	if (tail && !isIPv4(groups.pop()))
		return false;

	const count = groups.length + (tail ? 2 : 0);

	return groups.every(group => GROUP.test(group)) &&
		(halves.length == 2 ? count < 8 : count == 8);
}

function isAddress(text) {
	return isIPv4(text) || isIPv6(text);
}

/* An address, or ADDRESS/PREFIX or ADDRESS/NETMASK; host bits may be set */
function isNetwork(text) {
	const [ address, prefix, more ] = text.split('/');

	if (more != null || !isAddress(address))
		return false;

	if (prefix == null)
		return true;

	if (DIGITS.test(prefix))
		return +prefix <= (isIPv4(address) ? 32 : 128);

	return isIPv4(address) && isMask(prefix);
}

/* 255.255.255.0, or the same inverted as Cisco writes it: ones on one side, zeroes on the other */
function isMask(text) {
	if (!isIPv4(text))
		return false;

	const bits = text.split('.').map(part => (+part).toString(2).padStart(8, '0')).join('');

	return !bits.includes('01') || !bits.includes('10');
}

function isHost(text) {
	if (isAddress(text))
		return true;

	const labels = (text.endsWith('.') ? text.slice(0, -1) : text).split('.');

	return text.length <= 253 &&
		labels.every(label => LABEL.test(label) && !label.endsWith('-')) &&
		!DIGITS.test(labels[labels.length - 1]);
}

function isName(text) {
	return NAME.test(text);
}

const FORMATS = {
	address: isAddress,
	network: isNetwork,
	host: isHost,
	interface: isName,
	section: isName
};

const EXPECTED = {
	address: _('an IP address'),
	network: _('an IP address, or a network such as 10.1.1.0/24'),
	host: _('an IP address or a host name'),
	interface: _('the name of a network interface'),
	section: _('the name of a peer')
};

/* A flag as it stands in UCI -> true, false, or null where it says neither */
function flag(value) {
	const word = String(value).trim().toLowerCase();

	return YES.includes(word) ? true : NO.includes(word) ? false : null;
}

/* Whether a flag of a section is on, by what it says or else by the default */
function isOn(kind, option, value) {
	return flag(value) ?? OPTIONS[kind][option].standard;
}

/* The section the agent takes where it wants one of a kind: of two clients or servers the first
 * that is switched on. The first where none is, undefined where there is no section. */
function theOne(sections, kind) {
	const found = sections.filter(s => s['.type'] == kind);

	return (kind != 'globals' && found.find(s => isOn(kind, 'enabled', s.enabled))) || found[0];
}

/* true, or what is expected instead. An empty value is another question: see fields.js */
function check(kind, option, value) {
	const rule = OPTIONS[kind][option];

	if (rule.type == 'number')
		return (WHOLE.test(value) && +value >= rule.from && +value <= rule.to) ||
			_('Expected: a whole number from %d to %d').format(rule.from, rule.to);

	if (rule.type == 'choice')
		return rule.of.includes(value) || _('Expected: %s').format(rule.of.join(', '));

	if (rule.each)
		return FORMATS[rule.each](value) || _('Expected: %s').format(EXPECTED[rule.each]);

	return !rule.pattern || rule.pattern.test(value) || _('This is not of the form that is needed here');
}

return baseclass.extend({ OPTIONS, MOST_WANS, FORMATS, flag, isOn, theOne, check });
