// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For test_luci.py, which asks the same of the agent: what the form makes of passwords.
 * Reads [ [ method, password, client ] … ], writes the verdicts.
 */
import { readFileSync } from 'node:fs';
import { load } from './load.mjs';

const { checkPassword } = load('mptcp-proxy.ciphers');
const passwords = JSON.parse(readFileSync(0, 'utf8'));

process.stdout.write(JSON.stringify(passwords.map(([ method, password, client ]) => checkPassword(method, password, client) === true)));
