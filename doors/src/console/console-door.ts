// The console door: the page at /console/, which shows the fabric in a browser. It serves files only. The page gets its data from the
// routes of the sentinel, so a program with the same key can do the same.
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { FabricError } from '@fame-fabric/shared';
import type { Door } from '../door.ts';
import type { FastifyReply, FastifyRequest } from '../fastify.ts';
import { httpRefusal } from '../http/http-error.ts';
import { type ConsoleFile, readConsoleFiles } from './console-files.ts';

/** The entry point of the package with the built page. */
const PAGE = '@fame-fabric/console/index.html';

/**
 * Headers of all files. The page runs only scripts and styles from files of this port, sends data only to it, and may not be framed. Agents
 * and strangers write a part of the text that it shows.
 */
const HEADERS = Object.freeze({
  'content-security-policy':
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
});

export const consoleDoor: Door = {
  name: 'console',
  plugin: () => async (app) => {
    let loading: Promise<ReadonlyMap<string, ConsoleFile>> | undefined;
    app.get('/console', async (_request, reply) => reply.redirect('/console/', 308));
    app.get<{ Params: { '*': string } }>('/console/*', async (request, reply) => {
      const path = request.params['*'];
      loading ??= readPage();
      const files = await loading.catch((error: unknown) => {
        loading = undefined; // the page may be built later
        throw error;
      });
      const file = files.get(path === '' ? 'index.html' : path);
      if (file === undefined) {
        const details = { fix: 'Open /console/.' };
        throw new FabricError('NO_ROUTE', `The console has no file ${path.slice(0, 120)}`, { details });
      }
      return send(file, request, reply);
    });
  },
  refusal: httpRefusal,
};

function send(file: ConsoleFile, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { body, etag, gzipped, isImmutable, type } = file;
  reply.headers({
    ...HEADERS,
    etag,
    vary: 'Origin, Accept-Encoding',
    'cache-control': isImmutable ? 'public, max-age=31536000, immutable' : 'no-cache',
  });
  if (request.headers['if-none-match'] === etag) return reply.code(304).send();
  reply.type(type);
  const acceptsGzip = /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/.test(
    request.headers['accept-encoding']?.toString() ?? '',
  );
  if (gzipped === undefined || !acceptsGzip) return reply.send(body);
  return reply.header('content-encoding', 'gzip').send(gzipped);
}

/** @throws {OPERATION_UNSUPPORTED} if the page is not installed or not built */
async function readPage(): Promise<ReadonlyMap<string, ConsoleFile>> {
  try {
    return await readConsoleFiles(dirname(createRequire(import.meta.url).resolve(PAGE)));
  } catch (cause) {
    const details = { fix: 'Install @fame-fabric/console, or build it: npm run build.' };
    throw new FabricError('OPERATION_UNSUPPORTED', 'The page of the console is not installed', {
      cause,
      details,
    });
  }
}
