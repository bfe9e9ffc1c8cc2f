// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';
'require dom';
'require uci';
'require ui';

/*
 * Forms: a map over UCI (or over a plain object) of sections of options, with the attributes by
 * which LuCI's own pages and these tests find a field: data-field, data-sid, data-tab.
 */

/* ---- options ------------------------------------------------------------------------------- */

const Value = baseclass.extend({
	__init__(map, section, option, title, description) {
		Object.assign(this, { map, section, option, title, description, deps: [], rmempty: true, stored: {} });
	},

	value(key, text) {
		this.keylist = [ ...this.keylist ?? [], String(key) ];
		this.texts = { ...this.texts, [key]: text ?? key };
	},

	depends(condition, value) {
		this.deps.push(typeof(condition) == 'string' ? { [condition]: value } : condition);
	},

	transformChoices() {
		return this.keylist ? Object.fromEntries(this.keylist.map(key => [ key, this.texts[key] ])) : null;
	},

	cbid(sid) { return `cbid.${this.map.config}.${sid}.${this.option}` },
	load(sid) { return this.map.data.get(this.map.config, sid, this.option) },
	cfgvalue(sid) { return this.stored[sid] },
	textvalue(sid) { return E('span', [ [].concat(this.cfgvalue(sid) ?? this.default ?? []).join(' ') ]) },
	getUIElement(sid) { const node = this.map.findElement('id', this.cbid(sid)); return node ? dom.findClassInstance(node) : null },
	formvalue(sid) { return this.getUIElement(sid)?.getValue() ?? null },
	validate() { return true },
	frame(sid) { return this.map.findElement('data-field', this.cbid(sid)) },
	isActive(sid) { const frame = this.frame(sid); return !!frame && !frame.classList.contains('hidden') },

	isWanted(sid) {
		return !this.deps.length || this.deps.some(condition => Object.entries(condition).every(([ option, value ]) => {
			const other = this.section.children.find(child => child.option == option);

			return other.isActive(sid) && other.formvalue(sid) == value;
		}));
	},

	input(sid, value) {
		return new ui.Text(value, null, { ...this.options(sid), password: this.password, placeholder: this.placeholder });
	},

	options(sid) {
		return { id: this.cbid(sid), optional: this.optional || this.rmempty, datatype: this.datatype, validate: value => this.validate(sid, value), disabled: this.map.readonly };
	},

	renderWidget(sid, index, cfgvalue) {
		return this.input(sid, cfgvalue ?? this.default).render();
	},

	render(sid, index) {
		const frame = E('div', { 'class': 'cbi-value', 'data-field': this.cbid(sid), 'data-name': this.option }, [
			E('label', { 'class': 'cbi-value-title' }, [ this.title ]),
			E('div', { 'class': 'cbi-value-field' }, [
				this.renderWidget(sid, index, this.cfgvalue(sid)),
				this.description ? E('div', { 'class': 'cbi-value-description' }, this.description) : null
			])
		]);

		frame.addEventListener('widget-change', () => this.map.checkDepends());

		return frame;
	},

	parse(sid) {
		if (!this.isActive(sid))
			return this.retain ? Promise.resolve() : this.remove(sid);

		const element = this.getUIElement(sid);

		if (!element.triggerValidation())
			return Promise.reject(new TypeError(`Option "${this.title}" contains an invalid input value. ${element.getValidationError()}`));

		const value = this.formvalue(sid);

		if (value == null || value.length === 0)
			return (this.rmempty || this.optional) ? this.remove(sid) : Promise.reject(new TypeError(`Option "${this.title}" must not be empty.`));

		return JSON.stringify(value) == JSON.stringify(this.cfgvalue(sid)) ? Promise.resolve() : this.write(sid, value);
	},

	write(sid, value) { return Promise.resolve(this.map.data.set(this.map.config, sid, this.option, value)) },
	remove(sid) { return Promise.resolve(this.map.data.unset(this.map.config, sid, this.option)) }
});

const Flag = Value.extend({
	input(sid, value) { return new ui.Checkbox(value ?? '0', null, this.options(sid)) },

	parse(sid) {
		if (!this.isActive(sid))
			return this.retain ? Promise.resolve() : this.remove(sid);

		const value = this.formvalue(sid);

		return (this.rmempty && value == (this.default ?? '0')) ? this.remove(sid) : this.write(sid, value);
	}
});

const ListValue = Value.extend({
	input(sid, value) {
		return new ui.Select(this.multiple ? L.toArray(value) : value, this.transformChoices() ?? {},
			{ ...this.options(sid), multiple: this.multiple, widget: this.widget });
	}
});

const DynamicList = Value.extend({
	input(sid, value) { return new ui.DynamicList(L.toArray(value), this.transformChoices(), this.options(sid)) }
});

const MultiValue = Value.extend({
	input(sid, value) { return new ui.Select(L.toArray(value), this.transformChoices() ?? {}, { ...this.options(sid), multiple: true }) }
});

/* ---- sections ------------------------------------------------------------------------------ */

const Section = baseclass.extend({
	__init__(map, type, title, description) {
		Object.assign(this, { map, sectiontype: type, title, description, children: [] });
	},

	option(Class, ...args) {
		const option = new Class(this.map, this, ...args);

		this.children.push(option);

		return option;
	},

	formvalue(sid, option) { return this.children.find(child => child.option == option)?.formvalue(sid) ?? null },

	async load() {
		for (const sid of this.cfgsections())
			for (const option of this.children)
				option.stored[sid] = await option.load(sid);
	},

	parse() {
		return Promise.all(this.cfgsections().flatMap(sid => this.children.map(option => option.parse(sid))));
	},

	checkDepends() {
		for (const sid of this.cfgsections())
			for (const option of this.children) {
				option.frame(sid)?.classList.toggle('hidden', !option.isWanted(sid));

				if (option.isActive(sid))
					option.getUIElement(sid).triggerValidation();
			}
	},

	frame(...nodes) {
		return E('div', { 'class': 'cbi-section', 'data-tab': this.map.tabbed ? this.sectiontype : null, 'data-tab-title': this.title }, [
			this.title ? E('h3', [ this.title ]) : null,
			this.description ? E('div', { 'class': 'cbi-section-descr' }, this.description) : null,
			...nodes
		]);
	},

	render() {
		return this.frame(...this.cfgsections().map(sid => E('div', { 'class': 'cbi-section-node', 'data-section-id': sid },
			this.children.map((option, i) => option.render(sid, i)))));
	}
});

const TypedSection = Section.extend({
	cfgsections() { return this.map.data.sections(this.map.config, this.sectiontype).map(s => s['.name']) }
});

const NamedSection = Section.extend({
	__init__(map, name, type, title, description) {
		this.super('__init__', [ map, type ?? name, title, description ]);
		this.section = name;
	},

	cfgsections() { return [ this.section ] }
});

const GridSection = TypedSection.extend({
	parse() { return Promise.resolve() },
	checkDepends() {},

	render() {
		const columns = this.children.filter(option => !option.modalonly);

		return this.frame(
			E('table', { 'class': 'table cbi-section-table' }, this.cfgsections().map(sid => E('tr', { 'class': 'tr cbi-section-table-row', 'data-sid': sid }, [
				this.anonymous ? null : E('td', { 'class': 'td' }, [ sid ]),
				...columns.map(option => E('td', { 'class': 'td', 'data-name': option.option, 'data-title': option.title }, option.textvalue(sid))),
				E('td', { 'class': 'td' }, [
					E('button', { 'class': 'btn cbi-button cbi-button-edit', 'click': () => this.edit(sid) }, [ _('Edit') ]),
					E('button', { 'class': 'btn cbi-button cbi-button-remove', 'click': () => this.handleRemove(sid) }, [ _('Delete') ])
				])
			]))),
			this.renderSectionAdd());
	},

	renderSectionAdd() {
		const name = this.anonymous ? null : E('input', { 'type': 'text', 'class': 'cbi-section-create-name' });

		return E('div', { 'class': 'cbi-section-create' }, [ name, E('button', {
			'class': 'btn cbi-button cbi-button-add', 'click': () => this.handleAdd(name?.value)
		}, [ this.addbtntitle ?? _('Add') ]) ]);
	},

	handleAdd(name) {
		return this.edit(this.map.data.add(this.map.config, this.sectiontype, name), true);
	},

	handleRemove(sid) {
		this.map.data.remove(this.map.config, sid);

		return this.map.save(null, true);
	},

	/* the section's own form, in a dialog */
	async edit(sid, isNew) {
		const map = new Map(this.map.config);
		const section = map.section(NamedSection, sid, this.sectiontype);

		section.children = this.children.map(option => Object.assign(Object.create(option), { map, section, stored: {} }));

		const dismiss = () => {
			if (isNew)
				this.map.data.remove(this.map.config, sid);

			ui.hideModal();
		};
		const save = () => map.save(null, true).then(() => this.map.load()).then(() => this.map.reset()).then(() => ui.hideModal()).catch(() => {});

		ui.showModal(this.modaltitle?.(sid) ?? `${this.map.title} - ${sid}`, [
			await map.render(),
			E('div', { 'class': 'button-row' }, [
				E('button', { 'class': 'btn cbi-button', 'click': dismiss }, [ _('Dismiss') ]), ' ',
				E('button', { 'class': 'btn cbi-button cbi-button-positive', 'click': save }, [ _('Save') ])
			])
		], 'cbi-modal');
		map.checkDepends();
	}
});

/* ---- maps ---------------------------------------------------------------------------------- */

const Map = baseclass.extend({
	__init__(config, title, description) {
		Object.assign(this, { config, title, description, data: uci, children: [] });
	},

	section(Class, ...args) {
		const section = new Class(this, ...args);

		this.children.push(section);

		return section;
	},

	findElement(attribute, value) {
		return [ ...this.root?.querySelectorAll(`[${attribute}]`) ?? [] ].find(node => node.getAttribute(attribute) == value) ?? null;
	},

	async load() {
		await this.data.load(this.config);

		for (const section of this.children)
			await section.load();
	},

	async parse() { await Promise.all(this.children.map(section => section.parse())) },
	checkDepends() { for (const section of this.children) section.checkDepends() },
	reset() { return this.renderContents() },
	render() { return this.load().then(() => this.renderContents()) },

	save(callback, silent) {
		return this.parse().then(callback).then(() => this.data.save()).then(() => this.load()).catch(error => {
			if (!silent)
				ui.showModal(_('Save error'), [ E('p', [ error.message ]), E('button', { 'class': 'btn', 'click': ui.hideModal }, [ _('Dismiss') ]) ]);

			throw error;
		}).then(() => this.renderContents());
	},

	renderContents() {
		this.root ??= E('div', { 'class': 'cbi-map' });
		dom.bindClassInstance(this.root, this);

		const sections = this.children.map(section => section.render());
		const tab = this.tab ?? this.children[0]?.sectiontype;

		dom.content(this.root, [
			this.title ? E('h2', [ this.title ]) : null,
			this.description ? E('div', { 'class': 'cbi-map-descr' }, this.description) : null,
			this.tabbed ? E('ul', { 'class': 'cbi-tabmenu' }, this.children.map(section =>
				E('li', { 'data-tab': section.sectiontype }, [ E('a', { 'click': () => this.show(section.sectiontype) }, [ section.title ]) ]))) : null,
			...sections
		]);
		this.checkDepends();

		if (this.tabbed)
			this.show(tab);

		return this.root;
	},

	show(tab) {
		this.tab = tab;

		for (const node of this.root.querySelectorAll('.cbi-section[data-tab]'))
			node.style.display = (node.getAttribute('data-tab') == tab) ? '' : 'none';
	}
});

/* The same over { section: { option: value } } */
const JSONMap = Map.extend({
	__init__(data, title, description) {
		this.super('__init__', [ 'json', title, description ]);
		this.data = {
			load: () => Promise.resolve(),
			save: () => Promise.resolve(),
			get: (config, name, option) => data[name][option],
			set: (config, name, option, value) => { data[name][option] = value },
			unset: (config, name, option) => { delete data[name][option] }
		};
	}
});

return baseclass.extend({ Map, JSONMap, TypedSection, NamedSection, GridSection, Value, Flag, ListValue, DynamicList, MultiValue });
