// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';

/*
 * Made by `make docs` from schema/mptcp-proxy.schema.json and the agent's engines: do not edit.
 */

return baseclass.extend({
	/* Section types, and their options as in the schema */
	OPTIONS: {
		globals: {
			enabled: { type: 'boolean', default: true },
			engine: { type: 'string', enum: [ 'auto', 'sing-box', 'shadowsocks-rust', 'shadowsocks-libev' ], default: 'auto' },
			redirect: { type: 'string', enum: [ 'auto', 'nftables', 'iptables' ], default: 'auto' },
			log_level: { type: 'string', enum: [ 'error', 'warning', 'info', 'debug' ], default: 'info' },
			buffers: { type: 'string', pattern: '^(auto|off|[1-9][0-9]{4,8})$', default: 'auto' }
		},
		peer: {
			address: { type: 'array', items: { type: 'string', format: 'host' }, required: true },
			port: { type: 'integer', minimum: 1, maximum: 65535, default: 8388 },
			method: { type: 'string', pattern: '^[a-z0-9][a-z0-9-]*$', default: 'none' },
			password: { type: 'string', default: '', 'x-secret': true },
			keep_alive: { type: 'integer', minimum: 0, maximum: 7200, default: 15 }
		},
		client: {
			enabled: { type: 'boolean', default: true },
			peer: { type: 'array', items: { type: 'string', format: 'section' }, required: true },
			local_port: { type: 'integer', minimum: 1, maximum: 65535, default: 1080 },
			lan: { type: 'array', items: { type: 'string', format: 'interface' }, default: [ 'lan' ] },
			bypass: { type: 'array', items: { type: 'string', format: 'network' }, default: [] },
			when_down: { type: 'string', enum: [ 'bypass', 'block' ], default: 'bypass' },
			timeout: { type: 'integer', minimum: 10, maximum: 86400, default: 300 },
			fast_open: { type: 'boolean', default: false }
		},
		server: {
			enabled: { type: 'boolean', default: false },
			listen: { type: 'array', items: { type: 'string', format: 'address' }, default: [ '0.0.0.0' ] },
			port: { type: 'integer', minimum: 1, maximum: 65535, default: 8388 },
			method: { type: 'string', pattern: '^[a-z0-9][a-z0-9-]*$', default: 'none' },
			password: { type: 'string', default: '', 'x-secret': true },
			allow: { type: 'array', items: { type: 'string', format: 'network' }, default: [] },
			timeout: { type: 'integer', minimum: 10, maximum: 86400, default: 300 },
			fast_open: { type: 'boolean', default: false }
		},
		wan: {
			interface: { type: 'string', format: 'interface', required: true },
			role: { type: 'string', enum: [ 'subflow', 'backup', 'off' ], default: 'subflow' },
			probe_interval: { type: 'integer', minimum: 1, maximum: 3600, default: 5 },
			probe_timeout: { type: 'integer', minimum: 100, maximum: 30000, default: 2000 },
			probe_fail: { type: 'integer', minimum: 1, maximum: 100, default: 3 },
			probe_recover: { type: 'integer', minimum: 1, maximum: 100, default: 2 }
		}
	},

	/* Shadowsocks methods that each engine knows */
	METHODS: {
		'sing-box': [ 'none', 'aes-128-gcm', 'aes-192-gcm', 'aes-256-gcm', 'chacha20-ietf-poly1305', 'xchacha20-ietf-poly1305', '2022-blake3-aes-128-gcm', '2022-blake3-aes-256-gcm', '2022-blake3-chacha20-poly1305' ],
		'shadowsocks-rust': [ 'none', 'aes-128-gcm', 'aes-256-gcm', 'chacha20-ietf-poly1305', '2022-blake3-aes-128-gcm', '2022-blake3-aes-256-gcm', '2022-blake3-chacha20-poly1305' ],
		'shadowsocks-libev': [ 'none', 'aes-128-gcm', 'aes-192-gcm', 'aes-256-gcm', 'chacha20-ietf-poly1305', 'xchacha20-ietf-poly1305' ]
	},

	/* Bytes of key behind the password, where it is one in base64 */
	KEY_BYTES: { '2022-blake3-aes-128-gcm': 16, '2022-blake3-aes-256-gcm': 32, '2022-blake3-chacha20-poly1305': 32 },

	/* Methods that take several keys, joined by colons */
	SEVERAL_KEYS: [ '2022-blake3-aes-128-gcm', '2022-blake3-aes-256-gcm' ],

	/* The words for yes and no in UCI */
	YES: [ '1', 'on', 'true', 'yes', 'enabled' ],
	NO: [ '0', 'off', 'false', 'no', 'disabled' ],

	/* Most wan sections */
	MAX_WANS: 8
});
