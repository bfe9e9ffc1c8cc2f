// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';
'require form';
'require rpc';

/* NetworkSelect: netifd's networks, loopback left out */

const callDump = rpc.declare({ object: 'network.interface', method: 'dump', expect: { interface: [] } });

return baseclass.extend({
	NetworkSelect: form.ListValue.extend({
		async load(section_id) {
			const dump = await callDump();

			this.keylist = [];

			for (const { interface: name } of dump)
				if (name != 'loopback')
					this.value(name, name);

			return form.ListValue.prototype.load.call(this, section_id);
		},

		textvalue(section_id) {
			return E('span', [ L.toArray(this.cfgvalue(section_id)).join(' ') ]);
		}
	})
});
