'use strict';
'require baseclass';

/* Brings style.css into the page, once: a module is loaded once, and a poll must not do it again */
document.head.appendChild(E('link', { 'rel': 'stylesheet', 'href': L.resource('mptcp-proxy/style.css') }));

return baseclass.extend({});
