// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The stand-in LuCI's web server: the app's own files, the runtime beside this folder, and for
 * each path of the app's menu a page that shows its view.
 */
import { createServer } from 'node:http';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { extname } from 'node:path';
import { catalogue } from '../pure/po.mjs';
import { rpc } from './router.mjs';

const APP = fileURLToPath(new URL('../../../luci-app-mptcp-proxy/', import.meta.url));
const RUNTIME = fileURLToPath(new URL('../runtime/', import.meta.url));
const RESOURCES = `${APP}htdocs/luci-static/resources/`;
const TYPES = { '.js': 'text/javascript', '.css': 'text/css' };

const menu = JSON.parse(readFileSync(`${APP}root/usr/share/luci/menu.d/luci-app-mptcp-proxy.json`, 'utf8'));

function what(path) {
	if (path == 'status/overview')
		return { includes: readdirSync(`${RESOURCES}view/status/include`).map(name => `view.status.include.${name.replace('.js', '')}`) };

	const action = menu[`admin/${path}`]?.action;

	if (action?.type == 'alias')
		return what(action.path.replace('admin/', ''));

	return action && { view: action.path.replaceAll('/', '.') };
}

function page(path, language) {
	const action = what(path);

	return action && `<!DOCTYPE html>
<html lang="${language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/runtime/theme.css">
<script>window.CATALOG = ${JSON.stringify(catalogue(language))};</script>
<script src="/runtime/luci.js"></script>
</head>
<body><main id="maincontent"><div id="view"></div></main>
<script>boot(${JSON.stringify(action)});</script></body>
</html>`;
}

function file(path) {
	const candidates = path.startsWith('/runtime/') ? [ RUNTIME + path.slice(9) ]
		: [ '', RUNTIME ].map(base => path.replace('/luci-static/resources/', base || RESOURCES));

	const found = candidates.find(candidate => !candidate.includes('..') && existsSync(candidate));

	return found && readFileSync(found);
}

async function body(request) {
	let text = '';

	for await (const part of request)
		text += part;

	return text;
}

/* The page's own files, and what it asks of the router: each page says which world it lives in */
async function reply(request, url, world) {
	const [ , admin ] = url.pathname.match(/^\/cgi-bin\/luci\/admin\/(.*)$/) ?? [];

	if (url.pathname == '/ubus/')
		return { type: 'application/json', body: JSON.stringify(await rpc(world, JSON.parse(await body(request)))) };

	if (admin?.startsWith('uci/')) {
		world.calls.push(admin);

		return { type: 'application/json', body: '{}' };
	}

	if (admin)
		return { type: 'text/html', body: page(admin, url.searchParams.get('lang') ?? 'en') };

	return { type: TYPES[extname(url.pathname)], body: file(url.pathname) };
}

export function serve() {
	const worlds = [];
	const server = createServer(async (request, response) => {
		const { type, body } = await reply(request, new URL(request.url, 'http://router'), worlds[request.headers['x-world']]);

		response.writeHead(body ? 200 : 404, { 'Content-Type': type ?? 'text/plain' });
		response.end(body ?? '');
	});

	return new Promise(resolve => server.listen(0, '127.0.0.1', () => resolve({
		url: `http://127.0.0.1:${server.address().port}`,
		add: world => String(worlds.push(world) - 1),
		close: () => { server.closeAllConnections(); server.close() }
	})));
}
