// Exact numbers, and nothing else: runs in a page, in a worker and under node.
"use strict";
var tp = (globalThis.tp = globalThis.tp || {});
