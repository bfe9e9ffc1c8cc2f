'use strict';
'require baseclass';
'require form';
'require ui';
'require tools.widgets as widgets';
'require mptcp-proxy.methods as methods';
'require mptcp-proxy.rules as rules';

/*
 * Form fields from the table in rules.js: the kind of input, the default and the validation
 * of an option follow from its rule, the texts are said where the field is used.
 */

/* A password with a button that makes a good one, beside LuCI's own that reveals it */
const Secret = form.Value.extend({
	__name__: 'CBI.MptcpSecret',

	password: true,

	handleGenerate(section_id) {
		const method = this.section.formvalue(section_id, this.methodOption ?? 'method') || 'none';
		const field = this.getUIElement(section_id);

		field.setValue(methods.generate(method, n => crypto.getRandomValues(new Uint8Array(n))));
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
		return new ui.Select(L.toArray(cfgvalue ?? this.default), this.transformChoices() ?? {}, {
			id: this.cbid(section_id),
			sort: this.keylist,
			multiple: true,
			widget: 'checkbox',
			orientation: 'vertical',
			disabled: this.map.readonly
		}).render();
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

const CLASSES = {
	flag: form.Flag,
	choice: form.ListValue,
	list: form.DynamicList,
	number: form.Value,
	text: form.Value
};

function classOf(rule) {
	if (rule.secret)
		return Secret;

	if (rule.each == 'interface')
		return widgets.NetworkSelect;

	return CLASSES[rule.type];
}

/* How UCI writes a default */
function written(rule) {
	return (rule.type == 'flag') ? (rule.standard ? '1' : '0') : rule.standard;
}

function isEmpty(value) {
	return value == null || value.length === 0;
}

/* true or what is wrong; a list may come as one text with blanks */
function check(kind, option, value) {
	const values = (rules.OPTIONS[kind][option].type == 'list') ? String(value).split(/\s+/) : [ value ];

	return values.map(v => rules.check(kind, option, v)).find(result => result !== true) ?? true;
}

/* LuCI checks an empty field with '', and each item of a list as it is typed */
function validator(kind, option) {
	const rule = rules.OPTIONS[kind][option];

	return function(section_id, value) {
		if (isEmpty(value))
			return !rule.required || !isEmpty(this.formvalue(section_id)) || _('This is needed');

		const result = check(kind, option, value);

		return (result === true && this.also) ? this.also(section_id, value) : result;
	};
}

/* What a grid shows of a field: the choice in words, and the default where nothing is said */
function shown(rule, words) {
	return function(section_id) {
		const value = [].concat(this.cfgvalue(section_id) ?? rule.standard ?? []).join(', ');

		return E('span', [ words.get(value) ?? value ]);
	};
}

/*
 * Add one option to a section. kind: the section type of rules.js; more: properties of the
 * field (tab, modalonly, depends: one or more of { option: value }, values: [ [ value, text ] … ],
 * also: another validation).
 */
function add(section, kind, option, title, help, more) {
	const rule = rules.OPTIONS[kind][option];
	const { tab, depends, values, ...rest } = more ?? {};
	const type = rest.widget ?? classOf(rule);
	const field = tab ? section.taboption(tab, type, option, title, help) : section.option(type, option, title, help);

	delete rest.widget;

	if (rule.type == 'number')
		field.placeholder = String(rule.standard);
	else if (rule.type != 'text')
		field.default = written(rule);

	if (rule.type == 'list' && rule.each == 'interface')
		field.multiple = true;

	/* hidden fields keep what they hold: switching a role off must not forget its settings */
	Object.assign(field, { rmempty: !rule.required, retain: true, nocreate: true, validate: validator(kind, option) }, rest);

	for (const [ value, text ] of values ?? (rule.of ?? []).map(v => [ v, v ]))
		field.value(value, text);

	for (const condition of [].concat(depends ?? []))
		field.depends(condition);

	/* a box knows 1 and 0 only: `option enabled 'yes'` would be shown, and saved, as off */
	if (rule.type == 'flag') {
		const load = field.load;

		field.load = function(section_id) {
			return Promise.resolve(load.call(this, section_id)).then(value => {
				const on = rules.flag(value);

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
		field.textvalue = shown(rule, new Map(values ?? []));

	return field;
}

return baseclass.extend({ add, check, Secret, Ticks });
