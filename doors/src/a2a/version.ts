// The protocol version of a request: the header A2A-Version, or the query parameter of that name. An empty one means 0.3.
import type { FastifyRequest } from '../fastify.ts';
import { VersionNotSupportedError } from './sdk.ts';

const SUPPORTED = ['1.0', '0.3'] as const;
export type Version = (typeof SUPPORTED)[number];

/** Returns the version that a request names, without its patch number, or undefined. */
export function requestedVersion({
  headers,
  query,
}: Pick<FastifyRequest, 'headers' | 'query'>): string | undefined {
  const parameter = Object.entries(Object(query) as Record<string, unknown>).find(
    ([name]) => name.toLowerCase() === 'a2a-version',
  )?.[1];
  const given = headers['a2a-version'] ?? parameter;
  const text = typeof given === 'string' ? given.trim() : '';
  return text === '' ? undefined : text.replace(/^(\d+\.\d+)\.\d+$/, '$1');
}

/** Returns the version to serve. @throws VersionNotSupportedError */
export function versionOf(request: Pick<FastifyRequest, 'headers' | 'query'>): Version {
  const requested = requestedVersion(request) ?? '0.3';
  const version = SUPPORTED.find((one) => one === requested);
  if (version === undefined)
    throw new VersionNotSupportedError(
      `A2A-Version is ${requested.slice(0, 32)}; the door supports ${SUPPORTED.join(' and ')}. An empty header means 0.3.`,
    );
  return version;
}
