// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A stand-in for LuCI's client runtime, as far as this app and its tests go: class loader, E(),
 * dom, view, poll, translation. Written for these tests after LuCI's documented interface; the
 * same tests run on the real LuCI (see ../browser/harness.mjs), which keeps it honest.
 */
'use strict';

(function() {
	const BASE = '/luci-static/resources';

	/* ---- text ------------------------------------------------------------------------------ */

	/* %s, %d and %%; the app uses no others */
	String.prototype.format = function(...args) {
		let i = 0;

		return this.replace(/%([sd%])/g, (_all, kind) => kind == '%' ? '%' : kind == 'd' ? String(Math.floor(args[i++])) : String(args[i++]));
	};

	window._ = text => window.CATALOG[text] ?? text;

	/* ---- nodes: an array's texts become text, a lone string becomes markup, as in LuCI ------- */

	const isNode = value => value instanceof Node;

	function attributes(node, list) {
		for (const [ name, value ] of Object.entries(list))
			if (typeof(value) == 'function')
				node.addEventListener(name, value);
			else if (value != null)
				node.setAttribute(name, value);
	}

	function append(node, children) {
		if (Array.isArray(children))
			node.append(...children.filter(child => child != null).map(child => isNode(child) ? child : document.createTextNode(String(child))));
		else if (isNode(children))
			node.append(children);
		else if (children != null)
			node.innerHTML = String(children);

		return node;
	}

	window.E = function(tag, ...rest) {
		const node = (tag == null || Array.isArray(tag)) ? document.createDocumentFragment() : document.createElement(tag);

		if (Array.isArray(tag))
			return append(node, tag);

		if (rest.length && rest[0] !== null && typeof(rest[0]) == 'object' && !Array.isArray(rest[0]) && !isNode(rest[0]))
			attributes(node, rest.shift());

		return append(node, rest[0]);
	};

	const instances = new WeakMap();

	const dom = {
		append,
		content(node, children) { node.replaceChildren(); return append(node, children) },
		bindClassInstance(node, instance) { instances.set(node, instance); return instance },
		findClassInstance(node) { for (; node; node = node.parentNode) if (instances.has(node)) return instances.get(node); return null }
	};

	/* ---- classes ------------------------------------------------------------------------------ */

	/* LuCI's super('name', [ arguments ]): the method of the class above the one that calls */
	function makeClass(parent, properties) {
		function Class(...args) {
			this.__init__?.(...args);
		}

		Class.prototype = Object.create(parent?.prototype ?? Object.prototype, { constructor: { value: Class } });
		Class.parent = parent;
		Class.extend = more => makeClass(Class, more);
		Class.instantiate = args => new Class(...args);
		Class.isSubclass = other => !!other && other.prototype instanceof Class;

		for (const [ name, value ] of Object.entries(properties))
			Class.prototype[name] = (typeof(value) == 'function') ? marked(value, Class) : value;

		return Class;
	}

	let callers = [];

	function marked(method, owner) {
		if (/^class\b/.test(Function.prototype.toString.call(method)) || method.parent !== undefined)
			return method;

		return function(...args) {
			callers.push(owner);

			try {
				return method.apply(this, args);
			}
			finally {
				callers.pop();
			}
		};
	}

	const Base = makeClass(null, {});

	Base.prototype.super = function(name, args) {
		const above = callers[callers.length - 1].parent;

		return above.prototype[name].apply(this, args ?? []);
	};

	/* ---- the loader: files begin with 'require x as y' strings ------------------------------ */

	const loaded = new Map();

	async function load(name) {
		const source = await (await fetch(`${BASE}/${name.replaceAll('.', '/')}.js`)).text();
		const head = source.split('\n').filter(line => /^'require /.test(line));
		const wanted = head.map(line => /^'require (\S+?)(?: as (\w+))?';/.exec(line)).map(([ , module, as ]) => [ module, as ?? module.replace(/\W/g, '_') ]);
		const modules = await Promise.all(wanted.map(([ module ]) => L.require(module)));
		const Class = new Function('L', ...wanted.map(([ , as ]) => as), `${source}\n//# sourceURL=${name}.js`)(L, ...modules);

		return new Class();
	}

	const builtin = { baseclass: Base, dom };

	window.L = {
		resource: path => `${BASE}/${path}`,
		url: path => `/cgi-bin/luci/${path}`,
		require(name) {
			if (builtin[name])
				return Promise.resolve(builtin[name]);

			if (!loaded.has(name))
				loaded.set(name, load(name));

			return loaded.get(name);
		},
		resolveDefault: (value, standard) => Promise.resolve(value).catch(() => standard),
		toArray: value => Array.isArray(value) ? value : (value == null || value === '') ? [] : String(value).trim().split(/\s+/),
		isObject: value => value != null && typeof(value) == 'object',
		bind: (fn, self, ...args) => fn.bind(self, ...args),
		hasViewPermission: () => !new URLSearchParams(location.search).has('readonly'),
		dom
	};

	/* ---- poll ---------------------------------------------------------------------------------- */

	builtin.poll = {
		add(fn, seconds) {
			let busy = false;

			window.setInterval(async () => {
				if (busy)
					return;

				busy = true;
				await fn();
				busy = false;
			}, (seconds ?? 5) * 1000);
		}
	};

	/* ---- view ---------------------------------------------------------------------------------- */

	builtin.view = makeClass(Base, {
		__init__() {
			const page = document.getElementById('view');

			Promise.resolve(this.load?.()).then(data => this.render(data)).then(nodes => {
				dom.content(page, nodes);
				page.append(this.footer());
			});
		},

		handleSave() {
			return Promise.all([ ...document.querySelectorAll('#maincontent .cbi-map') ].map(map => dom.findClassInstance(map).save()));
		},

		handleSaveApply(ev, mode) {
			return this.handleSave(ev).then(() => L.ui.changes.apply(mode == '0'));
		},

		handleReset() {
			return Promise.all([ ...document.querySelectorAll('#maincontent .cbi-map') ].map(map => dom.findClassInstance(map).reset()));
		},

		footer() {
			const buttons = [
				[ 'handleSaveApply', 'cbi-button-apply', _('Save & Apply') ],
				[ 'handleSave', 'cbi-button-save', _('Save') ],
				[ 'handleReset', 'cbi-button-reset', _('Reset') ]
			].filter(([ handler ]) => this[handler]);

			return E('div', { 'class': 'cbi-page-actions' }, buttons.map(([ handler, style, title ]) =>
				E('button', { 'class': `btn cbi-button ${style}`, 'click': ev => Promise.resolve(this[handler](ev, '0')).catch(() => {}) }, [ title ])));
		}
	});

	/* ---- the overview page: what it does with an include ------------------------------------- */

	async function overview(names) {
		const page = document.getElementById('view');

		for (const name of names) {
			const include = await L.require(name);
			const container = E('div');
			const section = E('div', { 'class': 'cbi-section', 'style': 'display: none' }, [ E('h3', [ include.title ]), container ]);
			const refresh = async () => {
				const content = include.render(await include.load());

				if (content != null) {
					section.style.display = '';
					dom.content(container, content);
				}
			};

			page.append(section);
			await refresh();
			builtin.poll.add(refresh);
		}
	}

	window.boot = ({ view, includes }) => L.require('ui').then(ui => {
		L.ui = ui;

		return view ? L.require(`view.${view}`) : overview(includes);
	});
}());
