import { test } from 'node:test';
import * as h from './harness.mjs';
import * as r from './replies.mjs';
const client = { globals: { type: 'globals', enabled: '1' }, r7000: { type: 'peer', address: ['10.1.1.70','10.2.2.70'], port: '8388', method: 'none' }, vps: {type:'peer', address:['vps.example.org'], method:'chacha20-ietf-poly1305', password:'secret'}, client: { type: 'client', enabled: '1', peer: ['r7000','vps'], lan: ['lan'] }, wan1: { type: 'wan', interface: 'wan1' }, wan2: { type: 'wan', interface: 'wan2', role: 'backup' } };
const w = () => h.world({ sections: client, status: r.status({problems:[{where:'mptcp-proxy.vps.password',message:'missing, and the method is aes-128-gcm',hint:'set the password',severity:'error'}]}), connections: r.connections(r.connection(1), r.connection(2), r.connection(3,{fallback:true,subflows:[]})), check: r.CHECK, plan: r.PLAN, reload: {} });
const S = 'services/mptcp-proxy/';
const tab = n => async p => { await p.locator(`.cbi-tabmenu li[data-tab="${n}"] a`).click(); };
const shots = {
 status: [S+'status', {}, async p => { await p.locator('summary').first().click(); await p.locator('[data-token]').first().click(); await p.locator('[data-token]').nth(1).click(); }],
 'status-phone': [S+'status', {width:390}, async p => { await p.locator('[data-token]').nth(1).click(); }],
 'status-dark': [S+'status', {dark:true}],
 check: [S+'status', {}, async p => { await p.getByText('Check',{exact:true}).click(); }],
 plan: [S+'status', {dark:true}, async p => { await p.getByText('Plan',{exact:true}).click(); }],
 client: [S+'settings', {}, tab('client')],
 server: [S+'settings', {}, async p => { await tab('server')(p); await h.field(p,'server','enabled').locator('input[type=checkbox]').click(); }],
 peers: [S+'settings', {}, tab('peer')],
 'peers-phone': [S+'settings', {width:390}, tab('peer')],
 'peer-modal': [S+'settings#vps.password', {}],
 wans: [S+'settings', {}, tab('wan')],
 'wan-modal': [S+'settings#wan2.probe_interval', {}],
 assistant: [S+'assistant', {}],
 'assistant-phone': [S+'assistant', {width: 390, dark: true}],
 widget: ['status/overview', {}],
};
for (const [name,[path,o,f]] of Object.entries(shots)) if (!process.env.ONLY || process.env.ONLY.split(',').includes(name)) test(name, async t => {
	const page = await h.open(t, path, w(), o);
	await page.waitForTimeout(600);
	try { if (f) await f(page); } catch (e) { console.log(name, e.message); }
	await page.waitForTimeout(700);
	await h.screenshot(page, name);
	if (page.errors.length) console.log(name, page.errors);
});
