// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';
'require dom';
'require validation';

/* Dialogs, buttons that show they are at work, and the inputs of form.js */

function overlay() {
	return document.getElementById('modal_overlay') ?? document.body.appendChild(
		E('div', { 'id': 'modal_overlay' }, [ E('div', { 'class': 'modal', 'role': 'dialog' }) ]));
}

const Input = baseclass.extend({
	__init__(value, choices, options) {
		Object.assign(this, { value, choices, options });
	},

	render() {
		this.node = this.build();
		this.node.id = this.options.id;
		dom.bindClassInstance(this.node, this);
		this.node.addEventListener('change', () => this.changed());
		this.node.addEventListener('keyup', () => this.triggerValidation());

		return this.node;
	},

	changed() {
		this.triggerValidation();
		this.node.dispatchEvent(new CustomEvent('widget-change', { bubbles: true }));
	},

	/* the text in the field; a list's field holds what is not added yet */
	typed() {
		return this.getValue();
	},

	triggerValidation() {
		const input = this.node.querySelector('input:not([type="hidden"]), select') ?? this.node;
		const value = this.typed();
		let result = (this.isEmpty(value) && !this.options.optional) ? _('Expecting: non-empty value') : true;

		if (result === true && !this.isEmpty(value) && this.options.datatype)
			result = validation.check(this.options.datatype, value);

		if (result === true)
			result = this.options.validate?.(value) ?? true;

		this.error = (result === true) ? '' : result;
		input.classList.toggle('cbi-input-invalid', result !== true);

		if (result === true)
			input.removeAttribute('data-tooltip');
		else
			input.setAttribute('data-tooltip', result);

		return result === true;
	},

	isEmpty: value => value == null || value.length === 0,
	isValid() { return !this.error },
	getValidationError() { return this.error ?? '' }
});

const Text = Input.extend({
	build() {
		const input = E('input', {
			'type': this.options.password ? 'password' : 'text', 'class': this.options.password ? 'cbi-input-password' : 'cbi-input-text',
			'placeholder': this.options.placeholder, 'disabled': this.options.disabled ? '' : null
		});

		input.value = this.value ?? '';

		if (!this.options.password)
			return E('div', [ input ]);

		return E('div', [ E('div', { 'class': 'control-group' }, [
			input,
			E('button', { 'class': 'btn cbi-button', 'aria-label': _('Reveal/hide password'), 'click': () => {
				input.type = (input.type == 'password') ? 'text' : 'password';
			} }, [ '∗' ])
		]) ]);
	},
	getValue() { return this.node.querySelector('input').value },
	setValue(value) { this.node.querySelector('input').value = value }
});

const Checkbox = Input.extend({
	build() {
		const box = E('input', { 'type': 'checkbox', 'disabled': this.options.disabled ? '' : null });

		box.checked = this.value == '1';

		return E('div', { 'class': 'cbi-checkbox' }, [ box ]);
	},
	getValue() { return this.isChecked() ? '1' : '0' },
	isChecked() { return this.node.querySelector('input').checked }
});

/* A select, or radio buttons or boxes as `widget` says */
const Select = Input.extend({
	build() {
		const names = Object.keys(this.choices);
		const chosen = [].concat(this.value ?? []);

		if (this.options.widget == 'radio' || this.options.widget == 'checkbox')
			return E('div', names.map(name => {
				const input = E('input', { 'type': this.options.multiple ? 'checkbox' : 'radio', 'name': this.options.id, 'value': name });

				input.checked = chosen.includes(name);

				return E('label', { 'style': 'display: block' }, [ input, ' ', this.choices[name] ]);
			}));

		const select = E('select', { 'class': 'cbi-input-select', 'multiple': this.options.multiple ? '' : null, 'disabled': this.options.disabled ? '' : null },
			names.map(name => E('option', { 'value': name, 'selected': chosen.includes(name) ? '' : null }, [ this.choices[name] ])));

		return E('div', [ select ]);
	},
	getValue() {
		const select = this.node.querySelector('select');

		if (!select)
			return this.node.querySelector('input:checked')?.value ?? null;

		return this.options.multiple ? [ ...select.selectedOptions ].map(o => o.value) : select.value;
	},
	setValue(value) { this.node.querySelector('select').value = value }
});

const DynamicList = Input.extend({
	build() {
		const input = E('input', { 'type': 'text', 'class': 'cbi-input-text', 'placeholder': this.options.placeholder, 'list': `${this.options.id}.choices` });
		const list = E('div', { 'class': 'cbi-dynlist' }, [ E('div', { 'class': 'add-item control-group' }, [
			input,
			E('datalist', { 'id': `${this.options.id}.choices` }, Object.keys(this.choices ?? {}).map(name => E('option', { 'value': name }))),
			E('div', { 'class': 'btn cbi-button cbi-button-add', 'click': () => this.take(input) }, [ '+' ])
		]) ]);

		for (const value of this.value)
			list.lastChild.before(this.item(value));

		return list;
	},
	item(value) {
		const item = E('div', { 'class': 'item' }, [ E('span', [ value ]), E('input', { 'type': 'hidden', 'value': value }),
			E('button', { 'class': 'btn', 'click': () => { item.remove(); this.changed() } }, [ '×' ]) ]);

		return item;
	},
	take(input) {
		if (input.value == '' || !this.triggerValidation())
			return;

		this.node.lastChild.before(this.item(input.value));
		input.value = '';
		this.changed();
	},
	/* its input holds what is not in the list yet, and so may be empty */
	__init__(value, choices, options) { this.super('__init__', [ value, choices, { ...options, optional: true } ]) },
	typed() { return this.node.querySelector('input[type="text"]').value },
	getValue() { return [ ...this.node.querySelectorAll('.item input') ].map(input => input.value) }
});

return baseclass.extend({
	Text, Checkbox, Select, DynamicList,

	createHandlerFn(self, handler, ...args) {
		return ev => {
			const button = ev.currentTarget;

			button.classList.add('spinning');
			button.disabled = true;

			return Promise.resolve((typeof(handler) == 'string' ? self[handler] : handler).call(self, ...args, ev)).finally(() => {
				button.classList.remove('spinning');
				button.disabled = false;
			});
		};
	},

	addNotification(title, children, ...classes) {
		document.getElementById('view').prepend(E('div', { 'class': `alert-message ${classes.join(' ')}` }, [ title ? E('h4', [ title ]) : '', children ]));
	},

	showModal(title, children, ...classes) {
		const dialog = overlay().firstChild;

		dialog.className = [ 'modal', ...classes ].join(' ');
		dom.content(dialog, [ E('h4', {}, title), ...[].concat(children) ]);
		document.body.classList.add('modal-overlay-active');

		return dialog;
	},

	hideModal() {
		document.body.classList.remove('modal-overlay-active');
		dom.content(overlay().firstChild, []);
	},

	changes: { apply: checked => fetch(`/cgi-bin/luci/admin/uci/${checked ? 'apply_rollback' : 'apply_unchecked'}`, { method: 'POST' }) }
});
