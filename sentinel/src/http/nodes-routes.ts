// The routes about nodes: the list, its stream of changes, and the actions of an administrator.
import type { Principal } from '@fame-fabric/shared';
import { type ClientAddresses, FabricError, refusalBody } from '@fame-fabric/shared/router';
import type { Granted } from '../access/access.ts';
import type { Guard } from '../access/guard.ts';
import { CLOSE } from '../close-codes.ts';
import type { Session } from '../session/session.ts';
import type { SessionTable } from '../session/session-table.ts';
import type { Sessions } from '../session/sessions.ts';
import type { FastifyInstance, FastifyReply, FastifyRequest } from './fastify.ts';
import { LineStreams, type LineStreamsDeps } from './line-streams.ts';
import { NodeFeed, type NodeFeedDeps } from './node-feed.ts';
import { NodeViews, type NodeViewsDeps } from './node-views.ts';

export const NODES_PATH = '/fame/v1/nodes';
const KEEP_ALIVE_MS = 15_000;
const MAX_READERS = 32;
/** A path of a node has at most 4,096 bytes. */
const MAX_BODY_BYTES = 5_120;

export interface NodesRoutesDeps extends NodeViewsDeps, Omit<NodeFeedDeps, 'views'>, LineStreamsDeps {
  clients: ClientAddresses;
  guard: Guard;
  table: SessionTable;
  sessions: Sessions;
  calls: NodeViewsDeps['calls'];
  bindings: NodeViewsDeps['bindings'];
}

/** `callerOf` returns the caller of a request that was admitted. */
export function nodesRoutes(
  app: FastifyInstance,
  deps: NodesRoutesDeps,
  callerOf: (request: FastifyRequest) => Granted,
): void {
  const { clients, guard, sessions, table } = deps;
  const views = new NodeViews(deps);
  const feed = new NodeFeed({ ...deps, views });
  const streams = new LineStreams(deps, {
    page: 'nodes',
    maxReaders: MAX_READERS,
    keepAliveMs: KEEP_ALIVE_MS,
  });

  app.get<{ Querystring: { follow?: string; scope?: string } }>(NODES_PATH, async (request, reply) => {
    const { follow, scope } = request.query;
    if (follow !== 'true' || request.method === 'HEAD')
      return scope === 'cluster' ? views.listCluster() : views.list();
    return streams.open({ request, reply, caller: callerOf(request) }, (stream) => feed.follow(stream));
  });

  /** Runs an action on the node that the body names, and records it. */
  const onNode = (name: 'Disconnect' | 'Drain', act: (session: Session, by: Principal) => void): void => {
    const url = `${NODES_PATH}/${name.toLowerCase()}`;
    app.post(url, { bodyLimit: MAX_BODY_BYTES }, async (request, reply) => {
      const path = pathIn(request.body);
      if (path === undefined) return refuse(reply, 400, INVALID_BODY);
      const session = table.byPath(path);
      if (session === undefined) {
        const message = `No node is attached at ${path.slice(0, 120)}. \`npx fame-fabric ps\` lists the paths.`;
        return refuse(reply, 404, new FabricError('NO_ROUTE', message));
      }
      const { principal } = callerOf(request);
      guard.acted({ name, principal, path, remote: clients.of(request) });
      act(session, principal);
      return reply.code(202).send({ path, state: session.state, isDraining: session.isDraining });
    });
  };

  // The node may attach again: its key decides whether it may, not this action.
  onNode('Disconnect', (session) =>
    sessions.end(session, CLOSE.serviceRestart, 'an administrator disconnected this node'),
  );
  onNode('Drain', (session) => {
    session.isDraining = true;
  });
}

function pathIn(body: unknown): string | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  const { path } = body as { path?: unknown };
  return typeof path === 'string' && path.startsWith('/') ? path : undefined;
}

const INVALID_BODY = new FabricError('REQUEST_INVALID', 'The body must be {"path": "/SENTINEL/NODE"}');

const refuse = (reply: FastifyReply, status: number, { code, message }: FabricError): FastifyReply =>
  reply.code(status).send(refusalBody(code as 'REQUEST_INVALID' | 'NO_ROUTE', message));
