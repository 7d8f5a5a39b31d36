// The MCP server for tests over standard streams: `node stdio-server.ts [legacy]`. TOOLS_FILE replaces its tools, WAIT_FILE receives the
// states of the tool `wait`.
import { appendFileSync, readFileSync } from 'node:fs';
import type { Tool } from '@modelcontextprotocol/server';
import { StdioServerTransport, serveStdio } from '@modelcontextprotocol/server/stdio';
import { makeTestServer, TOOLS } from './test-server.ts';

const { TOOLS_FILE, WAIT_FILE, SECRET = '' } = process.env;
const make = () =>
  makeTestServer({
    tools: () => (TOOLS_FILE ? (JSON.parse(readFileSync(TOOLS_FILE, 'utf8')) as Tool[]) : TOOLS),
    onWait: (state) => WAIT_FILE && appendFileSync(WAIT_FILE, `${state}\n`),
    onCrash: () => {
      process.stderr.write(`out of memory; secret ${SECRET}\n`);
      process.exit(7);
    },
  });
if (process.argv.includes('legacy')) await make().connect(new StdioServerTransport());
else serveStdio(make);
