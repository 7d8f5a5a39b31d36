// The page at `/`, for people who open the port of the sentinel in a browser. It is the same for every visitor and contains nothing
// about the fabric, because it needs no key.
import { createHash } from 'node:crypto';
import { ATTACH_PATH } from '@fame-fabric/shared/internal';
import type { Doors } from '@fame-fabric/shared/router';

const STYLE = `
  :root { color-scheme: light dark; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem; }
  h1 { font-size: 1.5rem; margin-bottom: 0; }
  code { font: 0.9em ui-monospace, monospace; }
  dt { margin-top: 0.75rem; }
  dd { margin: 0; opacity: 0.8; }
`;

/** Headers of the page. It loads nothing, runs no script and may not be framed. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = Object.freeze({
  'content-security-policy': `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
});

const CONSOLE = `<p><a href="console/">Open the console</a>: see the fabric, talk to an agent, follow a message. <code>npx fame-fabric console</code> prints a link that signs you in.</p>
`;

/** Returns the HTML of the page. `version` is the version of the software; `doors` are the doors of the port, if it has any. */
export const pageHtml = (version: string, doors: Doors | undefined): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fame Fabric sentinel</title>
<style>${STYLE}</style>
</head>
<body>
<h1>Fame Fabric sentinel</h1>
<p>Version ${version}</p>
<p>A sentinel routes messages between agents and their callers. This one is running.</p>
${doors?.names?.includes('console') ? CONSOLE : ''}<p>In a terminal, in the folder of Fame Fabric, type:</p>
<dl>
<dt><code>npx fame-fabric chat</code></dt><dd>talk to the chat agent</dd>
<dt><code>npx fame-fabric ps</code></dt><dd>list the attached nodes and their addresses</dd>
<dt><code>npx fame-fabric trace</code></dt><dd>watch the messages that pass, without their content</dd>
<dt><code>npx fame-fabric doctor</code></dt><dd>check this machine and the connection</dd>
</dl>
<p>Programs attach to <code>${ATTACH_PATH}</code> over WebSocket.${doors?.text ? ` Clients of other protocols use this port too: ${doors.text}.` : ''}</p>
<p>For monitoring: <a href="healthz">healthz</a>, <a href="readyz">readyz</a>, <a href="version">version</a>, and
<code>/metrics</code> with the local key.</p>
</body>
</html>
`;
