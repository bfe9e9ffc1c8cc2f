/*
 * For test_luci.py, which asks the same of the agent: what the form makes of values.
 * Reads { formats: [ [ format, text ] … ], passwords: [ [ method, password, client ] … ],
 * flags: [ text … ] },
 * writes the verdicts, and the methods of each engine.
 */
import { readFileSync } from 'node:fs';
import { load } from './load.mjs';

const { FORMATS, flag } = load('mptcp-proxy.rules');
const { ENGINES, checkPassword } = load('mptcp-proxy.methods');
const { formats, passwords, flags } = JSON.parse(readFileSync(0, 'utf8'));

process.stdout.write(JSON.stringify({
	formats: formats.map(([ format, text ]) => FORMATS[format](text)),
	passwords: passwords.map(([ method, password, client ]) => checkPassword(method, password, client) === true),
	flags: flags.map(text => flag(text)),
	engines: ENGINES
}));
