// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';
'require form';
'require ui';
'require tools.widgets as widgets';
'require mptcp-proxy.ciphers as ciphers';
'require mptcp-proxy.options as options';

/*
 * Form fields from the schema: the kind of input, the default and the validation of an option
 * follow from its rule there, the texts are said where the field is used.
 */

/* A password with a button that makes a good one, beside LuCI's own that reveals it */
const Secret = form.Value.extend({
	__name__: 'CBI.MptcpSecret',

	password: true,

	handleGenerate(section_id) {
		const method = this.section.formvalue(section_id, this.methodOption ?? 'method') || 'none';
		const field = this.getUIElement(section_id);

		field.setValue(ciphers.generate(method, n => crypto.getRandomValues(new Uint8Array(n))));
		field.triggerValidation();
		field.node.querySelector('input').type = 'text';
		this.map.checkDepends();
	},

	renderWidget(section_id, option_index, cfgvalue) {
		const widget = this.super('renderWidget', [ section_id, option_index, cfgvalue ]);

		(widget.querySelector('.control-group') ?? widget).appendChild(E('button', {
			'class': 'btn cbi-button mptcp-generate',
			'title': _('Make a new random password'),
			'disabled': this.map.readonly || null,
			'click': ui.createHandlerFn(this, 'handleGenerate', section_id)
		}, [ _('Generate') ]));

		return widget;
	}
});

/* Several of a few, each with a box to tick: LuCI's own MultiValue folds them away */
const Ticks = form.MultiValue.extend({
	__name__: 'CBI.MptcpTicks',

	renderWidget(section_id, option_index, cfgvalue) {
		const node = new ui.Select(L.toArray(cfgvalue ?? this.default), this.transformChoices() ?? {}, {
			id: this.cbid(section_id),
			sort: this.keylist,
			multiple: true,
			widget: 'checkbox',
			orientation: 'vertical',
			disabled: this.map.readonly
		}).render();

		node.classList.add('mptcp-ticks');

		return node;
	},

	/* ui.Select can show boxes, but reads radio buttons only */
	formvalue(section_id) {
		const node = this.map.findElement('id', this.cbid(section_id));

		return [ ...node.querySelectorAll('input:checked') ].map(box => box.value);
	},

	/* nor does it validate them */
	parse(section_id) {
		const result = this.validate(section_id, this.formvalue(section_id));

		return (result === true) ? this.super('parse', [ section_id ]) : Promise.reject(new TypeError(result));
	}
});

function isInterface(rule) {
	return (rule.items ?? rule).format == 'interface';
}

function classOf(rule) {
	if (rule['x-secret'])
		return Secret;

	if (isInterface(rule))
		return widgets.NetworkSelect;

	if (rule.enum)
		return form.ListValue;

	return { boolean: form.Flag, array: form.DynamicList }[rule.type] ?? form.Value;
}

/* How UCI writes a default */
function written(rule) {
	return (rule.type == 'boolean') ? (rule.default ? '1' : '0') : rule.default;
}

function isEmpty(value) {
	return value == null || value.length === 0;
}

/* What no datatype of LuCI's says. It checks an empty field with '', and each item of a list as
 * it is typed. */
function validator(rule) {
	return function(section_id, value) {
		if (isEmpty(value))
			return !rule.required || !isEmpty(this.formvalue(section_id)) || _('This is needed');

		if (rule.pattern && !new RegExp(rule.pattern).test(value))
			return _('This is not of the form that is needed here');

		return this.also ? this.also(section_id, value) : true;
	};
}

/* What a grid shows of a field: the choice in words, and the default where nothing is said */
function shown(rule, words) {
	return function(section_id) {
		const value = [].concat(this.cfgvalue(section_id) ?? rule.default ?? []).join(', ');

		return E('span', [ words.get(value) ?? value ]);
	};
}

/*
 * Add one option to a section. kind: the section type; more: properties of the field (tab,
 * modalonly, depends: one or more of { option: value }, also: another validation, texts of a
 * choice: { value: text }, or values where they are not the schema's: [ [ value, text ] … ]).
 */
function add(section, kind, option, title, help, more) {
	const rule = options.rule(kind, option);
	const { tab, depends, texts = {}, values = (rule.enum ?? []).map(v => [ v, texts[v] ?? v ]), ...rest } = more ?? {};
	const type = rest.widget ?? classOf(rule);
	const field = tab ? section.taboption(tab, type, option, title, help) : section.option(type, option, title, help);

	delete rest.widget;

	if (rule.type == 'integer')
		field.placeholder = String(rule.default);
	else if (rule.type != 'string' || rule.enum)
		field.default = written(rule);

	if (rule.type == 'array' && isInterface(rule))
		field.multiple = true;

	/* hidden fields keep what they hold: switching a role off must not forget its settings */
	Object.assign(field, { rmempty: !rule.required, retain: true, nocreate: true, datatype: options.datatype(kind, option), validate: validator(rule) }, rest);

	for (const [ value, text ] of values)
		field.value(value, text);

	for (const condition of [].concat(depends ?? []))
		field.depends(condition);

	/* a box knows 1 and 0 only: `option enabled 'yes'` would be shown, and saved, as off */
	if (rule.type == 'boolean') {
		const load = field.load;

		field.load = function(section_id) {
			return Promise.resolve(load.call(this, section_id)).then(value => {
				const on = options.flag(value);

				return (on == null) ? value : on ? '1' : '0';
			});
		};
	}

	/* what is the default anyway need not be written */
	if (field.default != null && field.rmempty) {
		const write = field.write;

		field.write = function(section_id, value) {
			return String(value) == String(this.default) ? this.remove(section_id) : write.call(this, section_id, value);
		};
	}

	if (type != widgets.NetworkSelect)
		field.textvalue = shown(rule, new Map(values));

	return field;
}

return baseclass.extend({ add, Secret, Ticks });
